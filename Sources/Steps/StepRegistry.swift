package import PlanModel

/// The step kinds that plans can name.
package struct StepRegistry: Sendable {
    private let kinds: [String: any StepKind.Type]

    package init(_ kinds: [any StepKind.Type]) {
        self.kinds = Dictionary(uniqueKeysWithValues: kinds.map { ($0.schema.name, $0) })
    }

    /// All kinds that Reprise comes with.
    package static let standard = StepRegistry([
        CommandStep.self, ApprovalStep.self, ProvisionStep.self,
        FetchBackupStep.self, DatabaseOriginStep.self,
        PostgresCheckStep.self, PostgresClusterStep.self, PostgresRolesStep.self, PostgresRestoreStep.self, PostgresRestoreTablesStep.self, PostgresVerifyStep.self,
        PostgresSettleStep.self, PostgresSwapStep.self,
        TableRestoreStep.self, TableDiffStep.self, TableMergeStep.self, TableUndoStep.self, TableProofStep.self, TableCleanupStep.self,
        PackagesStep.self, FileStep.self, TemplateStep.self, SecretFileStep.self, ServiceStep.self, ScheduleStep.self, FirewallStep.self,
        ArchiveStep.self, GitCheckoutStep.self, CertificateStep.self,
        HTTPCheckStep.self, SQLCheckStep.self, FilesCheckStep.self, SiteCheckStep.self, PortCheckStep.self,
    ])

    package var schemas: [StepKindSchema] { kinds.values.map { $0.schema }.sorted { $0.name < $1.name } }

    package func type(_ name: String) throws -> any StepKind.Type {
        guard let kind = kinds[name] else {
            throw StepRefused(
                "steps.unknown-kind", "this version knows no steps of kind \(name)",
                hints: ["use the version of reprise that started the run, or a newer one"])
        }
        return kind
    }

    package func make(_ name: String) throws -> any StepKind { try type(name).init() }
}
