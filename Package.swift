// swift-tools-version: 6.1
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// A module of ours. The order of the list below is the order of dependence: each module may use only those above it.
func module(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: swiftSettings)
}

/// The tests of one module, with the same folder names as `Sources/`.
func tests(of name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies, resources: resources,
        swiftSettings: swiftSettings)
}

/// Helpers of several modules' tests; only tests depend on it.
func support(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: swiftSettings)
}

func system(_ name: String, pkgConfig: String, debian: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([debian])])
}

let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "reprise",
    products: [.executable(name: "reprise", targets: ["reprise"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-crypto", "3.0.0"..<"5.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.0.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
    ],
    targets: [
        system("CLibSSH2", pkgConfig: "libssh2", debian: "libssh2-1-dev"),
        system("CLibCurl", pkgConfig: "libcurl", debian: "libcurl4-openssl-dev"),
        system("CLibPQ", pkgConfig: "libpq", debian: "libpq-dev"),
        .systemLibrary(name: "CLinux"),
        module("RunCore"),
        module("PlanModel", ["RunCore"]),
        module("PlanYAML", ["RunCore", "PlanModel", yams]),
        module("BlockingIO", ["RunCore", "CLinux"]),
        module("Journal", ["RunCore", "BlockingIO", grdb, crypto]),
        module("SSH", ["RunCore", "BlockingIO", "CLibSSH2", crypto]),
        module("ObjectStorage", ["RunCore", "BlockingIO", "SSH", "CLibCurl", "CLinux", crypto]),
        module("PostgreSQL", ["RunCore", "BlockingIO", "CLibPQ", crypto]),
        module("Reconcile", ["RunCore", "BlockingIO", "PostgreSQL", crypto]),
        module("Steps", ["RunCore", "PlanModel", "BlockingIO", "SSH", "ObjectStorage", "PostgreSQL", "Reconcile"]),
        module(
            "Engine",
            [
                "RunCore", "PlanModel", "BlockingIO", "Journal", "SSH", "ObjectStorage", "PostgreSQL", "Steps", crypto, subprocess, systemPackage,
            ]),
        module("Reporting", ["RunCore", "PlanModel", "BlockingIO", "Journal", "SSH", "PostgreSQL", "ObjectStorage", "Steps", "Engine"]),
        .executableTarget(
            name: "reprise",
            dependencies: [
                "RunCore", "PlanModel", "PlanYAML", "BlockingIO", "Journal", "SSH", "ObjectStorage", "PostgreSQL", "Reconcile", "Steps", "Engine", "Reporting",
                arguments, logging, subprocess, systemPackage,
            ], swiftSettings: swiftSettings),
        // A child process for the journal's own tests: it is killed, stopped and starved in them.
        .executableTarget(name: "JournalProbe", dependencies: ["Journal", "RunCore", "BlockingIO"], swiftSettings: swiftSettings),
        // What scripts/bench measures with. Not installed.
        .executableTarget(
            name: "RepriseBench",
            dependencies: ["RunCore", "PlanModel", "Journal", "BlockingIO", "ObjectStorage", "PostgreSQL", "Reconcile", "Steps", "Engine", "SSH"],
            path: "bench/RepriseBench", swiftSettings: swiftSettings),
        // What several modules' tests have in common.
        support("TestSupport"),
        support("LoopbackSSH", ["SSH", "TestSupport"]),
        support("PostgresCluster", ["BlockingIO", "PostgreSQL", "TestSupport"]),
        tests(of: "RunCore", ["TestSupport"]),
        tests(of: "PlanModel", ["RunCore", "TestSupport"]),
        tests(of: "PlanYAML", ["RunCore", "PlanModel", "Steps", "TestSupport"]),
        tests(of: "BlockingIO"),
        tests(of: "Journal", ["TestSupport", "RunCore", "BlockingIO", "JournalProbe", grdb, crypto]),
        tests(of: "SSH", ["TestSupport", "RunCore", "BlockingIO", "LoopbackSSH", crypto]),
        tests(of: "ObjectStorage", ["TestSupport", "RunCore", "BlockingIO", "SSH", "LoopbackSSH", crypto]),
        tests(of: "PostgreSQL", ["TestSupport", "PostgresCluster", "RunCore", "BlockingIO", "PlanModel", "SSH", "Engine", "LoopbackSSH"]),
        tests(of: "Reconcile", ["RunCore", "BlockingIO", "PostgreSQL", "PostgresCluster", "TestSupport"]),
        tests(of: "Steps", ["TestSupport", "PostgresCluster", "LoopbackSSH", "SSH", "BlockingIO", "RunCore", "PlanModel", "PlanYAML", "ObjectStorage", "PostgreSQL", "Reconcile"]),
        tests(of: "Engine", ["TestSupport", "RunCore", "BlockingIO", "Journal", "SSH", "PlanModel", "PlanYAML", "Steps"]),
        tests(of: "Reporting", ["TestSupport", "RunCore", "PlanModel", "Journal", "PostgreSQL", "SSH", "Steps", "Engine"]),
        // Against the lab's real hosts, and only where REPRISE_LAB=1 says that it is up.
        .testTarget(name: "EndToEndTests", dependencies: ["reprise", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(
            name: "CommandLineTests", dependencies: ["reprise", "CLinux", "RunCore", "BlockingIO", "PostgreSQL", "TestSupport", "PostgresCluster"], swiftSettings: swiftSettings),
    ]
)
