// swift-tools-version: 6.1
import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}
func tests(of name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: [.byName(name: name)] + dependencies, swiftSettings: swiftSettings)
}
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let package = Package(
    name: "reprise",
    dependencies: [.package(url: "https://github.com/jpsim/Yams", from: "6.0.0")],
    targets: [
        module("RunCore"),
        module("PlanModel", ["RunCore"]),
        module("PlanYAML", ["RunCore", "PlanModel", yams]),
        tests(of: "PlanModel", ["RunCore"]),
        tests(of: "PlanYAML", ["RunCore", "PlanModel"]),
    ]
)
