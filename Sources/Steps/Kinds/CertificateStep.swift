package import PlanModel
package import RunCore
internal import SSH

/// Sees to it that hosts have a certificate that can be used: the one that is there, else one that was kept, else a new one.
///
/// A new server does not get one from an issuer before the DNS leads to it, and issuers limit how many they give: what was kept comes
/// first. The key fits, the names and the dates are right, or it is not put in place.
package struct CertificateStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "certificate", summary: "sees to a certificate that can be used: restored first, else issued through ACME",
        fields: [
            FieldSchema("names", .list(.string), isRequired: true, help: "host names that the certificate must be for; the first one names it"),
            FieldSchema("certificate", .path, isRequired: true, help: "where it belongs on the host, with its chain"),
            FieldSchema("key", .path, isRequired: true, help: "where its private key belongs"),
            FieldSchema("owner", .account, default: .string("root")),
            FieldSchema("group", .account, default: .string("root"), help: "one that is named may read the key, but for one that certbot issued"),
            FieldSchema("valid-for", .duration, default: .string("7d"), help: "one that ends sooner is not taken"),
            FieldSchema("ca-file", .path, help: "on the host: certificates of those who must have signed it"),
            FieldSchema("restore-certificate", .secretRef, help: "the certificate that was kept, with its chain, as PEM"),
            FieldSchema("restore-key", .secretRef, help: "its private key, as PEM"),
            FieldSchema("restore-folder", .path, help: "or a folder on the host with fullchain.pem and privkey.pem, such as an archive step unpacks"),
            FieldSchema("acme", .record(acmeFields), help: "who issues one where none was kept that can be used"),
        ], needsHost: true)

    private static let acmeFields = [
        FieldSchema("server", .string, default: .string("https://acme-v02.api.letsencrypt.org/directory"), help: "the issuer's directory"),
        FieldSchema("email", .string, help: "where the issuer writes to"),
        FieldSchema("webroot", .path, help: "the folder that the web server serves; without it certbot listens on port 80 itself"),
        FieldSchema("stop-service", .string, help: "one that holds port 80: stopped while certbot listens there, also whenever it renews; not with `webroot`"),
        FieldSchema("reload-service", .string, help: "one that serves the certificate: reloaded whenever certbot has renewed it"),
        FieldSchema("ca-file", .path, help: "on the host: certificates that are trusted for the issuer's own address"),
        FieldSchema("addresses", .list(.string), help: "addresses to which the names may lead; without it the host's own"),
    ]

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        let names = context.strings("names")
        guard !names.isEmpty, names.allSatisfy(Self.isName) else {
            throw StepRefused("certificate.bad-name", "`names` must hold host names, such as www.example.org", exitStatus: .usage)
        }
        let acme = context.with["acme"]?.objectValue
        func text(_ field: String) -> String { acme?[field]?.stringValue ?? "" }
        for service in ["stop-service", "reload-service"].compactMap({ acme?[$0]?.stringValue }) { try ServiceStep.requireName(service, context) }
        guard acme?["webroot"] == nil || acme?["stop-service"] == nil else {
            throw StepRefused(
                "certificate.bad-field", "`acme` has both `webroot` and `stop-service`: with the former the web server answers the issuer, and has to run",
                exitStatus: .usage)
        }
        let group = try context.string("group")
        let (restore, kept) = try await kept(context)
        return WantedState(
            script: CertificateScript.text,
            environment: [
                "NAMES": names.joined(separator: "\n"), "CERTIFICATE": try context.string("certificate"), "KEY": try context.string("key"),
                "OWNER": try context.string("owner"), "GROUP": group, "KEY_MODE": group == "root" ? "0600" : "0640",
                "VALID_FOR": "\((try context.duration("valid-for") ?? .seconds(604_800)).components.seconds)", "CA_FILE": context.optionalString("ca-file") ?? "",
                "RESTORE": restore, "RESTORE_FOLDER": context.optionalString("restore-folder") ?? "", "ACME": acme == nil ? "0" : "1",
                "SERVER": acme?["server"]?.stringValue ?? "https://acme-v02.api.letsencrypt.org/directory", "EMAIL": text("email"),
                "WEBROOT": text("webroot"), "STOP_SERVICE": text("stop-service"), "RELOAD_SERVICE": text("reload-service"), "ACME_CA_FILE": text("ca-file"),
                "ADDRESSES": acme?["addresses"]?.arrayValue?.compactMap(\.stringValue).joined(separator: " ") ?? "",
            ],
            stdin: kept)
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["path": .string(try context.string("certificate"))]
    }

    private func kept(_ context: StepContext) async throws -> (String, [UInt8]?) {
        switch (context.optionalString("restore-certificate"), context.optionalString("restore-key"), context.optionalString("restore-folder")) {
        case (let certificate?, let key?, nil):
            return ("secret", Array("\(try await context.services.secret(certificate))\n\(try await context.services.secret(key))\n".utf8))
        case (nil, nil, .some): return ("folder", nil)
        case (nil, nil, nil): return ("none", nil)
        case (.some, nil, _), (nil, .some, _), (.some, .some, .some):
            throw StepRefused(
                "certificate.bad-field", "what was kept is named by `restore-certificate` and `restore-key` together, or by `restore-folder`", exitStatus: .usage)
        }
    }

    /// Letters, digits and `-` between dots; `*` for the first part.
    static func isName(_ name: String) -> Bool {
        let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return name.utf8.count <= 253 && parts.count > 1 && parts.enumerated().allSatisfy { index, part in
            if index == 0, part.elementsEqual("*".utf8) { return true }
            return (1...63).contains(part.count) && part.first != UInt8(ascii: "-")
                && part.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0 | 0x20) || $0 == UInt8(ascii: "-") }
        }
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        let certificate = shellQuoted(context.optionalString("certificate") ?? "CERTIFICATE"), key = shellQuoted(context.optionalString("key") ?? "KEY")
        let names = context.strings("names")
        return [
            "# on \(context.hosts.joined(separator: ", ")): put the certificate and the key that were kept in their places, and look at them",
            "openssl x509 -in \(certificate) -noout -subject -ext subjectAltName -enddate",
            "[ \"$(openssl x509 -in \(certificate) -noout -pubkey)\" = \"$(openssl pkey -in \(key) -pubout)\" ] && echo the key fits",
            "# only where none was kept, and once the DNS leads here:",
            "certbot certonly --standalone " + names.map { "-d \(shellQuoted($0))" }.joined(separator: " "),
        ]
    }
}
