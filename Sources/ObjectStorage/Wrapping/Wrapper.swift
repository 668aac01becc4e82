/// What a backup is compressed with, by its first bytes; names are not to be trusted.
package enum Wrapper: String, Sendable, Hashable, Codable, CaseIterable {
    case none, gzip, zstd, xz

    /// How many first bytes `detect` needs to see.
    package static let magicLength = 6

    /// Sources: RFC 1952, 2.3.1 (gzip, deflate being the only method); RFC 8878, 3.1.1 (zstd); the .xz file format, 2.1.1.1.
    package static func detect(_ firstBytes: some Sequence<UInt8>) -> Wrapper {
        let head = Array(firstBytes.prefix(magicLength))
        if head.starts(with: [0x1F, 0x8B, 0x08]) { return .gzip }
        if head.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) { return .zstd }
        if head.starts(with: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]) { return .xz }
        return .none
    }

    /// The program that unwraps from standard input to standard output with `-dc`; nil where nothing is to be done.
    package var program: String? { self == .none ? nil : rawValue }

    /// The Debian package of `program`.
    package var package: String? {
        switch self {
        case .none: nil
        case .gzip: "gzip"
        case .zstd: "zstd"
        case .xz: "xz-utils"
        }
    }
}
