/// What stands under `reprise:` in an inventory.
extension Findings {
    mutating func readReprise(_ located: Located, into inventory: inout Inventory) {
        if located.value == .null { return }
        let keys = ["databases", "stores", "secrets", "known-hosts", "production-system-identifiers"]
        guard let map = map(located, "`reprise`", keys: keys) else { return }
        inventory.secrets = named(map["secrets"], "secrets").compactMap { secret($0) }
        inventory.databases = named(map["databases"], "databases").compactMap { database($0) }
        inventory.stores = named(map["stores"], "stores").compactMap { store($0) }
        inventory.knownHosts = (strings(map["known-hosts"], "`known-hosts`") ?? []).compactMap { text, mark in
            path(text, at: mark, "`known-hosts`")
        }
        inventory.productionSystemIdentifiers = identifiers(map["production-system-identifiers"])
    }

    private mutating func named(_ entry: MapEntry?, _ what: String) -> [MapEntry] {
        guard let entry, entry.value.value != .null else { return [] }
        guard let entries = entry.value.value.map else {
            wrongType(entry.value, "`\(what)`", expected: "a map from names")
            return []
        }
        return entries.filter { entry in
            if Name.isPlain(entry.key) { return true }
            error(
                "inventory.bad-name", at: entry.keyMark,
                "`\(what)`: `\(printable(entry.key, limit: 60))` cannot be a name here",
                hints: ["names hold a–z, 0–9, `-` and `_` and start with a letter"])
            return false
        }
    }

    private mutating func secret(_ entry: MapEntry) -> Secret? {
        if let reference = entry.value.value.string.flatMap({ SecretReference($0) }) {
            return Secret(name: entry.key, reference: reference)
        }
        error(
            "inventory.bad-secret", at: entry.value.mark, "secret `\(entry.key)`: this is no reference to a secret",
            hints: ["write env:NAME, file:/path or command:…; the secret itself does not belong into an inventory"],
            hidesSource: true)
        return nil
    }

    private mutating func database(_ entry: MapEntry) -> DatabaseRef? {
        let what = "database `\(entry.key)`"
        let keys = ["host", "database", "superuser", "socket", "port", "application-role", "password", "via", "address", "sslrootcert"]
        guard let map = map(entry.value, what, keys: keys) else { return nil }
        for key in ["host", "database"] where map[key] == nil {
            error("plan.missing-field", at: entry.keyMark, "\(what): `\(key)` is missing")
        }
        var result = DatabaseRef(
            name: entry.key, host: string(map["host"], "\(what), `host`") ?? "", database: "", mark: entry.keyMark)
        result.database = typed(map["database"], .identifier, what) ?? ""
        result.superuser = typed(map["superuser"], .identifier, what) ?? result.superuser
        result.socketDirectory = typed(map["socket"], .path, what) ?? result.socketDirectory
        result.port = integer(map["port"], "\(what), `port`", in: 1...65535) ?? result.port
        result.applicationRole = typed(map["application-role"], .identifier, what)
        result.password = reference(map["password"], what)
        result.via = choice(map["via"], "\(what), `via`", of: DatabaseRef.Via.self)
        result.address = address(map["address"], "\(what), `address`")
        result.rootCertificate = map["sslrootcert"].flatMap { entry in
            string(entry, "\(what), `sslrootcert`").flatMap { path($0, at: entry.value.mark, "\(what), `sslrootcert`") }
        }
        if map["via"] == nil || result.via != nil { checkWay(result, map, what, at: entry.keyMark) }
        return result
    }

    private mutating func address(_ entry: MapEntry?, _ what: String) -> String? {
        guard let entry, let text = string(entry, what) else { return nil }
        if Name.isAddress(text) { return text }
        error("inventory.bad-name", at: entry.value.mark, "\(what): `\(printable(text, limit: 80))` is no name or address of a machine")
        return nil
    }

    /// What a way to the server needs, and what it cannot use.
    private mutating func checkWay(_ database: DatabaseRef, _ map: [String: MapEntry], _ what: String, at mark: SourceMark) {
        let via = database.via ?? .bridge
        let needed = switch via {
        case .bridge: [String]()
        case .tunnel: ["password"]
        case .direct: ["password", "sslrootcert"]
        }
        for key in needed where map[key] == nil {
            error(
                "plan.missing-field", at: mark, "\(what): `via: \(via.rawValue)` needs `\(key)`",
                hints: [
                    key == "password"
                        ? "`password: env:NAME`, `file:/path` or `command:…` is where the password of `\(database.superuser)` is to be had"
                        : "`sslrootcert` is the file with the certificate that the server's own is signed by"
                ])
        }
        for key in ["password", "address", "sslrootcert"] {
            guard let entry = map[key], via == .bridge || (via == .tunnel && key == "sslrootcert") else { continue }
            let of = key == "sslrootcert" ? "`via: direct`" : "`via: tunnel` and `via: direct`"
            warning("inventory.unused-key", at: entry.keyMark, "\(what): `\(key)` is used by \(of) only")
        }
        guard via != .bridge, let entry = map["via"] else { return }
        warning(
            "inventory.socket-programs", at: entry.value.mark,
            "\(what): `via: \(via.rawValue)` is the way of Reprise's own connections; pg_restore, pg_dump, psql and vacuumdb still run on "
                + "`\(printable(database.host, limit: 60))` as `\(database.superuser)`, through the unix socket",
            hints: ["`\(database.superuser)` needs peer authentication or a ~/.pgpass there"])
    }

    private mutating func store(_ entry: MapEntry) -> StoreRef? {
        let what = "store `\(entry.key)`"
        let common = ["kind", "database-pattern", "files-pattern"]
        let s3 = ["bucket", "prefix", "endpoint", "region", "path-style", "profile", "credentials-file", "config-file"]
        let folder = ["path", "host"]
        guard let kind = entry.value.value["kind"]?.value.string, ["s3", "directory"].contains(kind) else {
            guard let map = map(entry.value, what, keys: common + s3 + folder) else { return nil }
            if let kind = map["kind"] {
                unknown(
                    "plan.unknown-choice", at: kind.value.mark, "\(what): \(found(kind.value)) is no kind of store",
                    word: kind.value.value.string ?? "", among: ["s3", "directory"], what: "kinds")
            } else {
                error(
                    "plan.missing-field", at: entry.keyMark, "\(what): `kind` is missing",
                    hints: ["kinds: s3, directory"])
            }
            return nil
        }
        guard let map = map(entry.value, what, keys: common + (kind == "s3" ? s3 : folder)) else { return nil }
        guard
            let place = kind == "s3" ? location(map, what, at: entry.keyMark) : directory(map, what, at: entry.keyMark)
        else { return nil }
        var result = StoreRef(name: entry.key, kind: place, mark: entry.keyMark)
        result.databasePattern = pattern(map["database-pattern"], what) ?? result.databasePattern
        result.filesPattern = pattern(map["files-pattern"], what) ?? result.filesPattern
        return result
    }

    private mutating func location(_ map: [String: MapEntry], _ what: String, at mark: SourceMark) -> StoreRef.Kind? {
        guard map["bucket"] != nil else {
            error("plan.missing-field", at: mark, "\(what): `bucket` is missing")
            return nil
        }
        guard let bucket = string(map["bucket"], "\(what), `bucket`") else { return nil }
        if !Name.isBucket(bucket) {
            error(
                "inventory.bad-name", at: map["bucket"]!.value.mark,
                "\(what): `\(printable(bucket, limit: 80))` cannot be the name of a bucket")
        }
        var result = S3Location(bucket: bucket)
        result.prefix = pattern(map["prefix"], what) ?? ""
        if !result.prefix.isEmpty, !result.prefix.hasSuffix("/") { result.prefix += "/" }
        if let entry = map["endpoint"], let text = string(entry, "\(what), `endpoint`") {
            if Name.isHTTPURL(text) {
                result.endpoint = text.hasSuffix("/") ? String(text.dropLast()) : text
            } else {
                error(
                    "inventory.bad-endpoint", at: entry.value.mark, "\(what): `endpoint` is no http or https address",
                    hints: ["write it as https://s3.example.net, without a user or password"],
                    hidesSource: text.contains("@"))
            }
        }
        result.region = string(map["region"], "\(what), `region`") ?? result.region
        result.usesPathStyle = boolean(map["path-style"], "\(what), `path-style`") ?? false
        result.profile = string(map["profile"], "\(what), `profile`")
        result.credentialsFile = typed(map["credentials-file"], .path, what)
        result.configFile = typed(map["config-file"], .path, what)
        return .s3(result)
    }

    private mutating func directory(_ map: [String: MapEntry], _ what: String, at mark: SourceMark) -> StoreRef.Kind? {
        guard map["path"] != nil else {
            error("plan.missing-field", at: mark, "\(what): `path` is missing")
            return nil
        }
        return typed(map["path"], .path, what).map {
            .directory(path: $0, host: string(map["host"], "\(what), `host`"))
        }
    }

    /// Part of an object's key: literal text without control characters and `..`.
    private mutating func pattern(_ entry: MapEntry?, _ what: String) -> String? {
        guard let entry, let text = string(entry, "\(what), `\(entry.key)`") else { return nil }
        guard !text.unicodeScalars.contains(where: isControl), !text.hasPrefix("/"),
            !text.split(separator: "/").contains("..")
        else {
            error(
                "plan.bad-path", at: entry.value.mark,
                "\(what), `\(entry.key)`: a key neither begins with `/` nor holds `..` or control characters")
            return nil
        }
        return text
    }

    private mutating func typed(_ entry: MapEntry?, _ type: FieldType, _ what: String) -> String? {
        guard let entry else { return nil }
        if let problem = type.problem(with: entry.value) {
            error(
                problem.code, at: entry.value.mark, "\(what), `\(entry.key)`: \(problem.message)", hints: problem.hints)
            return nil
        }
        return entry.value.value.string
    }

    private mutating func path(_ text: String, at mark: SourceMark, _ what: String) -> String? {
        if Name.isPath(text) { return text }
        error(
            "plan.bad-path", at: mark, "\(what): `\(printable(text, limit: 80))` is no absolute path",
            hints: ["a path starts with `/` or `~/`"])
        return nil
    }

    private mutating func reference(_ entry: MapEntry?, _ what: String) -> SecretReference? {
        guard let entry else { return nil }
        if let reference = entry.value.value.string.flatMap({ SecretReference($0) }) { return reference }
        error(
            "inventory.bad-secret", at: entry.value.mark, "\(what), `\(entry.key)`: this is no reference to a secret",
            hints: ["write env:NAME, file:/path or command:…; the secret itself does not belong into an inventory"],
            hidesSource: true)
        return nil
    }

    private mutating func identifiers(_ entry: MapEntry?) -> [String] {
        guard let entry, entry.value.value != .null else { return [] }
        let items = entry.value.value.list ?? [entry.value]
        return items.compactMap { item in
            let text = item.value.integer.map(String.init) ?? item.value.string ?? ""
            if (10...20).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) { return text }
            error(
                "inventory.bad-identifier", at: item.mark,
                "`production-system-identifiers`: expected a system identifier, found \(found(item))",
                hints: ["ask the server: SELECT system_identifier FROM pg_control_system()"])
            return nil
        }
    }

    /// Databases and stores must stand on hosts that exist.
    mutating func checkReferences(of inventory: Inventory) {
        let index = InventoryIndex(inventory)
        for database in inventory.databases where index.host(database.host) == nil && !database.host.isEmpty {
            unknown(
                "inventory.unknown-host", at: database.mark,
                "database `\(database.name)`: there is no host `\(printable(database.host, limit: 60))`",
                word: database.host, among: index.hostNames, what: "hosts")
        }
        for store in inventory.stores {
            guard case .directory(_, let name?) = store.kind, index.host(name) == nil else { continue }
            unknown(
                "inventory.unknown-host", at: store.mark,
                "store `\(store.name)`: there is no host `\(printable(name, limit: 60))`", word: name,
                among: index.hostNames, what: "hosts")
        }
    }
}
