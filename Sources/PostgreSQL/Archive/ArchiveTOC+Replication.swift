extension ArchiveTOC {
    /// The table of contents that `pg_dump --no-publications --no-subscriptions` would have written: what is restored where replication
    /// must not start up a second time.
    package var withoutReplication: ArchiveTOC {
        keeping { !$0.isReplication }
    }
}

extension ArchiveEntry {
    /// Publications, what is in them, subscriptions, and comments on any of these.
    var isReplication: Bool {
        let kinds = ["PUBLICATION", "SUBSCRIPTION"]
        return kinds.contains { kind.hasPrefix($0) || (["COMMENT", "SECURITY LABEL"].contains(self.kind) && tag.hasPrefix("\($0) ")) }
    }
}
