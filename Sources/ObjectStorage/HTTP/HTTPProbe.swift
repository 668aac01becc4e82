/// One plain GET, for asking an application whether it is well. Certificates are checked; redirects are not followed.
package enum HTTPProbe {
    private static let client = HTTPClient()

    package struct Answer: Sendable {
        package let status: Int
        package let body: [UInt8]
    }

    /// - Throws: `ObjectStorageError` where no answer came; any status is an answer.
    package static func get(_ url: String, limitBytes: Int, timeout: Duration) async throws -> Answer {
        let request = HTTPRequest(method: .get, url: Secret(url), headers: [HTTPHeader("Accept", "application/json, */*")])
        let (head, body, _) = try await client.perform(
            request, limits: TransferLimits(deadline: timeout), decide: { _ in .collect(limitBytes: limitBytes) })
        return Answer(status: head.status, body: body)
    }
}
