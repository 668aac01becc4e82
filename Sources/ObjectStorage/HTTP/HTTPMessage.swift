/// A header field as sent. Names compare without case.
package struct HTTPHeader: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

struct HTTPRequest: Sendable {
    enum Method: String, Sendable { case get = "GET", head = "HEAD", post = "POST" }
    let method: Method
    let url: Secret
    let headers: [HTTPHeader]
    /// Of a POST.
    var body: Secret?
    /// Nil: to a store.
    var visit: Visit?

    init(method: Method, url: Secret, headers: [HTTPHeader]) { (self.method, self.url, self.headers) = (method, url, headers) }
}

/// Status and header fields of an answer.
struct HTTPResponseHead: Sendable {
    let status: Int
    /// Names in lowercase.
    let headers: [HTTPHeader]

    /// The first value of a field, by its lowercase name.
    subscript(_ name: String) -> String? {
        headers.first { $0.name == name }?.value
    }
}

/// What to do with the body of an answer, once its head is known.
enum BodyDisposition: Sendable {
    /// Give it to the sink; more bytes than this are refused.
    case deliver(limitBytes: Int64)
    /// Keep it, up to a limit; what exceeds it is refused.
    case collect(limitBytes: Int)
}
