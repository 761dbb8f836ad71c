// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

let nio: [Target.Dependency] = [
  .product(name: "NIOCore", package: "swift-nio"),
  .product(name: "NIOPosix", package: "swift-nio"),
]
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
  name: "iovmesh",
  products: [
    .executable(name: "iov", targets: ["iov"]),
    .executable(name: "iov-agent", targets: ["iov-agent"]),
    .executable(name: "iov-coordinator", targets: ["iov-coordinator"]),
    .executable(name: "iov-plugin-ethernet", targets: ["iov-plugin-ethernet"]),
    .executable(name: "iov-plugin-sata", targets: ["iov-plugin-sata"]),
    .executable(name: "iov-plugin-nvme", targets: ["iov-plugin-nvme"]),
    .executable(name: "iov-plugin-sas", targets: ["iov-plugin-sas"]),
    .executable(name: "iov-nbd-client", targets: ["iov-nbd-client"]),
    .library(name: "FunctionPluginKit", targets: ["FunctionPluginKit"]),
    .library(name: "BlockFunctions", targets: ["BlockFunctions"]),
    .library(name: "MeshRPC", targets: ["MeshRPC"]),
    .library(name: "MeshServices", targets: ["MeshServices"]),
    // A file beside the plugins of disks, which they have the programs that carry disks load.
    .library(name: "iov-disk-guard", type: .dynamic, targets: ["DiskGuard"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
    .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
  ],
  targets: [
    // C libraries of the system, and the parts of Linux that Glibc's module does not show to Swift.
    .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CBlkid", pkgConfig: "blkid", providers: [.apt(["libblkid-dev"])]),
    .systemLibrary(name: "CGnuTLS", pkgConfig: "gnutls", providers: [.apt(["libgnutls28-dev"])]),
    .target(name: "CLinux"),
    // Nothing of Swift's and of sanitizers in it: it is loaded into programs that have neither.
    .target(
      name: "DiskGuard", cSettings: [.unsafeFlags(["-fno-sanitize=all"])],
      linkerSettings: [.unsafeFlags(["-nostartfiles", "-static-stdlib", "-Xlinker", "--as-needed"])]),
    .target(name: "CMessages", dependencies: ["CProtobufC"], linkerSettings: [.linkedLibrary("protobuf-c")]),

    // Values without input or output.
    .target(name: "NearNames", swiftSettings: strict),
    .target(name: "Quantities", swiftSettings: strict),
    .target(name: "ProtobufRuntime", dependencies: ["CProtobufC", "NearNames"], swiftSettings: strict),
    .target(name: "Messages", dependencies: ["CMessages", "ProtobufRuntime"], swiftSettings: strict),
    .target(name: "Configuration", dependencies: ["CYAML", "NearNames"], swiftSettings: strict),
    .target(name: "HTTP2Session", dependencies: ["CNghttp2"], swiftSettings: strict),
    // Conditions on end nodes, as claims state them.
    .target(name: "Selectors", dependencies: ["Messages", "NearNames", "Quantities"], swiftSettings: strict),
    .target(name: "Arbitration", dependencies: ["Messages", "NearNames", "Selectors"], swiftSettings: strict),
    .target(name: "Reconciliation", dependencies: ["Messages"], swiftSettings: strict),
    // A rack round the arbiter in which everything goes wrong, and what must hold all the same.
    .target(name: "Simulation", dependencies: ["Arbitration", "Messages"], swiftSettings: strict),

    // The mesh.
    .target(name: "MeshRPC", dependencies: ["HTTP2Session", "ProtobufRuntime", "CZlib"] + nio, swiftSettings: strict),
    .target(name: "Services", dependencies: ["Messages", "MeshRPC"], swiftSettings: strict),
    // What every server of the mesh can offer: health, and reflection from the descriptions of all .proto files.
    .target(name: "MeshServices", dependencies: ["MeshRPC", "CMessages", "ProtobufRuntime"], swiftSettings: strict),
    // The service of the documentation's examples.
    .target(name: "ExampleService", dependencies: ["MeshRPC", "CMessages", "ProtobufRuntime"], swiftSettings: strict),
    .target(name: "Descriptors", dependencies: ["MeshServices"], swiftSettings: strict),

    // Who is who: TLS for the mesh, and a cluster's certificates. Plugins speak over Unix sockets and link no TLS.
    .target(name: "Identities", swiftSettings: strict),
    .target(
      name: "MeshTLS",
      dependencies: [
        "MeshRPC", .product(name: "NIOSSL", package: "swift-nio-ssl"), .product(name: "NIOTLS", package: "swift-nio"),
      ] + nio, swiftSettings: strict),
    .target(
      name: "ClusterSecurity", dependencies: ["MeshRPC", "MeshTLS", "Identities", "Configuration"],
      swiftSettings: strict),
    .target(name: "CertificateAuthority", dependencies: ["Identities", "CGnuTLS"], swiftSettings: strict),

    // gRPC's interoperability tests.
    .target(name: "InteropMessages", dependencies: ["CMessages", "MeshRPC"], swiftSettings: strict),
    .target(name: "Interop", dependencies: ["InteropMessages"], swiftSettings: strict),

    // The edge: the store, the devices, the daemons.
    .target(
      name: "ClaimStore",
      dependencies: ["Messages", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: strict),
    .target(name: "LinuxDevices", dependencies: ["CLinux", "CBlkid"], swiftSettings: strict),
    // Beside the plugins of disks, started by them. Of what runs there it alone links a library for TLS.
    .executableTarget(
      name: "iov-nbd-client", dependencies: ["LinuxDevices", "CLinux", "CGnuTLS"], swiftSettings: strict),
    .target(
      name: "FunctionPluginKit",
      dependencies: ["Services", "MeshServices", "Configuration", "Identities", "LinuxDevices", "CLinux", log],
      swiftSettings: strict),
    // What the plugins of all classes of disks are made of.
    .target(
      name: "BlockFunctions",
      dependencies: ["FunctionPluginKit", "LinuxDevices", "Services", "Configuration", "CLinux", log],
      swiftSettings: strict),
    .target(
      name: "Coordinator",
      dependencies: [
        "Arbitration", "ClaimStore", "Services", "Descriptors", "Configuration", "ClusterSecurity", "MeshTLS",
        "Identities",
        "LinuxDevices", log,
      ],
      swiftSettings: strict),
    .target(
      name: "Agent",
      dependencies: [
        "Reconciliation", "Services", "Configuration", "ClusterSecurity", "MeshTLS", "Identities", "LinuxDevices",
        "CLinux", log,
      ],
      swiftSettings: strict),

    // Executables.
    .executableTarget(name: "protoc-gen-iov", swiftSettings: strict),
    .executableTarget(
      name: "iov",
      dependencies: [
        "Services", "Agent", "Configuration", "ClusterSecurity", "MeshTLS", "CertificateAuthority", "Identities",
        "LinuxDevices", "NearNames", "Quantities", "Selectors",
        "CLinux", "CYAML", arguments,
      ],
      swiftSettings: strict),
    // A kernel with its devices, and virtual machines, that do what tests and benchmarks tell them to.
    .target(
      name: "FakeDevices", dependencies: ["LinuxDevices", "CLinux"], path: "Tests/FakeDevices", swiftSettings: strict),
    .executableTarget(
      name: "iov-bench",
      dependencies: [
        "Arbitration", "Simulation", "ClaimStore", "LinuxDevices", "FakeDevices", "Services", "ClusterSecurity",
        "Agent", "Reconciliation", "MeshTLS", "CertificateAuthority", "Identities", arguments, log,
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: strict),
    .executableTarget(name: "iov-interop", dependencies: ["Interop", "MeshTLS", arguments], swiftSettings: strict),
    .executableTarget(name: "iov-agent", dependencies: ["Agent", "LinuxDevices", arguments], swiftSettings: strict),
    .executableTarget(
      name: "iov-coordinator", dependencies: ["Coordinator", "LinuxDevices", arguments], swiftSettings: strict),
    .executableTarget(
      name: "iov-plugin-ethernet", dependencies: ["FunctionPluginKit", "LinuxDevices", "Services", "Configuration"],
      path: "Plugins/Ethernet", swiftSettings: strict),
    .executableTarget(
      name: "iov-plugin-sata", dependencies: ["BlockFunctions", "FunctionPluginKit", "LinuxDevices", "Services"],
      path: "Plugins/SATA", swiftSettings: strict),
    .executableTarget(
      name: "iov-plugin-nvme", dependencies: ["BlockFunctions", "FunctionPluginKit", "LinuxDevices", "Services"],
      path: "Plugins/NVMe", swiftSettings: strict),
    .executableTarget(
      name: "iov-plugin-sas",
      dependencies: ["BlockFunctions", "FunctionPluginKit", "LinuxDevices", "Services", "Configuration"],
      path: "Plugins/SAS", swiftSettings: strict),

    .testTarget(name: "ProtobufRuntimeTests", dependencies: ["ProtobufRuntime", "Messages"], swiftSettings: strict),
    .testTarget(name: "ConfigurationTests", dependencies: ["Configuration"], swiftSettings: strict),
    .testTarget(name: "HTTP2SessionTests", dependencies: ["HTTP2Session"], swiftSettings: strict),
    .testTarget(
      name: "MeshRPCTests", dependencies: ["MeshRPC", "HTTP2Session", "Services", "CZlib"] + nio, swiftSettings: strict),
    .testTarget(name: "InteropTests", dependencies: ["Interop"], swiftSettings: strict),
    .testTarget(
      name: "TenMinutesTests", dependencies: ["ExampleService", "MeshTLS", "CertificateAuthority", "Identities"],
      swiftSettings: strict),
    .testTarget(
      name: "MeshServicesTests", dependencies: ["MeshServices", "Descriptors", "Services"], swiftSettings: strict),
    .testTarget(name: "IdentitiesTests", dependencies: ["Identities"], swiftSettings: strict),
    .testTarget(
      name: "CertificateAuthorityTests", dependencies: ["CertificateAuthority"], swiftSettings: strict),
    .testTarget(
      name: "MeshTLSTests",
      dependencies: ["MeshTLS", "ClusterSecurity", "CertificateAuthority", "Services"] + nio, swiftSettings: strict),
    // What fuzzing feeds. Files of the mesh that need no NIO stand in it as links, so that they are built without.
    .target(
      name: "Fuzzing", dependencies: ["HTTP2Session", "Messages", "Selectors", "CZlib"], path: "Tests/Fuzzing",
      exclude: ["Corpora"],
      swiftSettings: strict),
    .testTarget(name: "FuzzingTests", dependencies: ["Fuzzing"], swiftSettings: strict),
    .testTarget(name: "SelectorsTests", dependencies: ["Selectors"], swiftSettings: strict),
    .testTarget(name: "ArbitrationTests", dependencies: ["Arbitration", "Simulation"], swiftSettings: strict),
    .testTarget(name: "ReconciliationTests", dependencies: ["Reconciliation"], swiftSettings: strict),
    .testTarget(
      name: "ClaimStoreTests", dependencies: ["ClaimStore", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: strict),
    .testTarget(
      name: "LinuxDevicesTests", dependencies: ["LinuxDevices", "FakeDevices", "CLinux"], swiftSettings: strict),
    .testTarget(
      name: "FunctionPluginKitTests", dependencies: ["FunctionPluginKit", "LinuxDevices", "CLinux"],
      swiftSettings: strict),
    // Plugins' programs as processes of their own, started and killed by the plugins' tests.
    .target(
      name: "PluginTrials", dependencies: ["Services", "LinuxDevices", "CLinux"], path: "Tests/PluginTrials",
      swiftSettings: strict),
    .testTarget(
      name: "EthernetTests",
      dependencies: ["iov-plugin-ethernet", "FakeDevices", "PluginTrials", "LinuxDevices", "Services", "CLinux"],
      swiftSettings: strict),
    .testTarget(
      name: "BlockFunctionsTests",
      dependencies: [
        "BlockFunctions", "iov-plugin-sata", "PluginTrials", "MeshServices", "FakeDevices", "CertificateAuthority",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "NBDClientTests", dependencies: ["iov-nbd-client", "LinuxDevices"], swiftSettings: strict),
    .testTarget(
      name: "NVMeTests",
      dependencies: ["iov-plugin-nvme", "FakeDevices", "LinuxDevices", "BlockFunctions", "Configuration"],
      swiftSettings: strict),
    .testTarget(
      name: "SASTests",
      dependencies: [
        "iov-plugin-sas", "BlockFunctions", "FunctionPluginKit", "FakeDevices", "LinuxDevices", "Services",
        "Configuration",
      ],
      swiftSettings: strict),
    // A plugin in a process of its own, for the agent's and the coordinator's tests.
    .executableTarget(
      name: "TestPlugin", dependencies: ["Services", "LinuxDevices"], path: "Tests/TestPlugin", swiftSettings: strict),
    .testTarget(
      name: "CoordinatorTests",
      dependencies: [
        "Coordinator", "LinuxDevices", "CertificateAuthority", "ClusterSecurity", "iov-agent", "TestPlugin",
        "iov-coordinator", "iov-bench",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "CommandLineTests",
      dependencies: ["iov", "Agent", "Configuration", "LinuxDevices", "CertificateAuthority", "ClusterSecurity"],
      swiftSettings: strict),
    .testTarget(
      name: "AgentTests", dependencies: ["Agent", "iov-agent", "TestPlugin", "LinuxDevices", log], swiftSettings: strict
    ),
  ],
  swiftLanguageModes: [.v6]
)

// Less than the whole package, for builds that do not need it: IOV_TARGETS=MeshRPCTests,iov-bench is those targets and what
// they depend on. With IOV_WITHOUT_NIO it is the targets that reach neither NIO nor GRDB, and their tests: a sanitized
// build of those takes longer than it tells of this project.
func ownDependencies(_ target: Target) -> [String] {
  target.dependencies.compactMap { if case .byNameItem(let name, _) = $0 { name } else { nil } }
}

@MainActor func keep(_ names: Set<String>) {
  package.targets.removeAll { !names.contains($0.name) }
  // What disks need when they run is no dependency that the compiler knows.
  package.products.removeAll {
    !["iov-disk-guard", "iov-nbd-client"].contains($0.name) || !names.contains("BlockFunctions")
  }
}

// A program that links libFuzzer, which `cluster/fuzz` names; everything in it tells libFuzzer which ways it takes.
if Context.environment["IOV_FUZZING"] != nil {
  package.targets.append(
    .executableTarget(
      name: "iov-fuzzer", dependencies: ["Fuzzing"], path: "Tests/Fuzzer",
      linkerSettings: [.linkedLibrary("stdc++")]))
  keep([
    "iov-fuzzer", "Fuzzing", "HTTP2Session", "Messages", "ProtobufRuntime", "NearNames", "Quantities", "Selectors",
    "CMessages", "CProtobufC", "CNghttp2", "CZlib",
  ])
  package.dependencies = []
  for target in package.targets where target.type != .system && target.name != "CMessages" {
    target.swiftSettings = [.unsafeFlags(["-sanitize=fuzzer"])]
  }
}

if let wanted = Context.environment["IOV_TARGETS"] {
  var kept = Set(wanted.split(separator: ",").map(String.init))
  // A target stands after those it depends on.
  for target in package.targets.reversed() where kept.contains(target.name) {
    kept.formUnion(ownDependencies(target))
  }
  if kept.contains("BlockFunctions") { kept.formUnion(["DiskGuard", "iov-nbd-client", "CGnuTLS", "LinuxDevices"]) }
  keep(kept)
}

if Context.environment["IOV_WITHOUT_NIO"] != nil {
  var kept: Set<String> = []
  for target in package.targets where ownDependencies(target).count == target.dependencies.count {
    if kept.isSuperset(of: ownDependencies(target)) { kept.insert(target.name) }
  }
  keep(kept)
  package.dependencies = []
}
