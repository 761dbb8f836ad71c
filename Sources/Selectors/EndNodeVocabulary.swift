import Messages

/// What conditions on an end node are asked about. Who has it in use can also say how far.
public protocol EndNodeFacts {
  var record: EndNode { get }
  var healthState: HealthState { get }
  var functionsInUse: UInt64 { get }
  /// The hosts that use those.
  var usingHosts: UInt64 { get }
  var bytesInUse: UInt64 { get }
  /// What minimum rates are granted of it.
  var promisedBits: UInt64 { get }
  var promisedOperations: UInt64 { get }
  var promisedBytes: UInt64 { get }
  var promisedQueues: UInt64 { get }
}

/// As the inventory shows it.
extension EndNode: EndNodeFacts {
  public var record: EndNode { self }
  public var healthState: HealthState { health?.state ?? .unknown }
  public var functionsInUse: UInt64 { UInt64(used?.functions ?? 0) }
  public var usingHosts: UInt64 { UInt64(used?.hosts ?? 0) }
  public var bytesInUse: UInt64 { used?.sizeBytes ?? 0 }
  public var promisedBits: UInt64 { used?.bitsPerSecond ?? 0 }
  public var promisedOperations: UInt64 { used?.operationsPerSecond ?? 0 }
  public var promisedBytes: UInt64 { used?.bytesPerSecond ?? 0 }
  public var promisedQueues: UInt64 { UInt64(used?.queues ?? 0) }
}

extension Vocabulary where Subject: EndNodeFacts & SendableMetatype {
  /// What can be said of end nodes.
  public static var endNodes: Self {
    Self(subjects: "end nodes", labels: { $0.record.labels }, whatItIs + whatItHas + whatIsLeft)
  }

  private static var whatItIs: [Field] {
    [
      .text("class", "device class, such as \"ethernet\", \"sas\", \"sata\", \"nvme\"") { $0.record.deviceClass },
      .text("id", "what it is known by in the cluster") { $0.record.id },
      .text("name", "its controlling host's name, a slash, what it is called there") { $0.record.name },
      .text("host", "the host that controls it") { $0.device.controllingHost },
      .list("roots", "the hosts with a direct path to it") { $0.record.roots.map(\.host) },
      Field(
        name: "numa_node", type: .number, meaning: "where it is plugged in on the host that controls it",
        changesWithUse: false, value: \.numaNode),
      .text("driver", "what drives it there") { $0.device.driver },
      .text("firmware", "its firmware's version; 9.1 is before 22.31") { $0.device.firmware },
      .text("serial", "its serial number") { $0.device.serialNumber },
      .text("address", "the MAC address it was made with, WWN or SAS address") { $0.device.permanentAddress },
      .text("pci_address", "where it is plugged in now") { $0.device.pciAddress },
      .text("eswitch_mode", "of the switch in a card: \"legacy\" or \"switchdev\"") { $0.device.eswitchMode },
      .list("offers", "what its driver offers beside, such as \"representors\"") { $0.device.offers },
      .bool("multi_root", "whether several hosts can use it at a time and it keeps them apart") {
        $0.record.capabilities?.multiRoot ?? false
      },
      .list("paths", "how its functions can be reached", of: paths) {
        $0.record.capabilities?.paths.compactMap(\.fieldWord) ?? []
      },
      .list("mediators", "what carries its functions to other hosts: \"vxlan\", \"nbd\"") {
        $0.record.capabilities?.mediators ?? []
      },
      .list("consumers", "what can use its functions, on some path", of: consumers) {
        $0.record.capabilities?.allConsumers ?? []
      },
      .list("attributes", "the settings that its functions have on some path, such as \"ethernet.vlan\"") {
        $0.record.capabilities?.allAttributes ?? []
      },
      .quantity("own_functions", "how many functions the device itself can make (SR-IOV)") {
        UInt64($0.device.functionCount?.maximum ?? 0)
      },
      .quantity("block_size", "sizes of its functions are multiples of it", as: .bytes) {
        UInt64($0.record.capabilities?.blockSizeBytes ?? 0)
      },
      .quantity("minimum_mtu", "the least MTU of its functions", as: .bytes) {
        UInt64($0.record.capabilities?.minimumMtu ?? 0)
      },
      .quantity("maximum_mtu", "the greatest MTU of its functions", as: .bytes) {
        UInt64($0.record.capabilities?.maximumMtu ?? 0)
      },
      .word("health", ["healthy", "unhealthy", "unknown"], "whether it works", changesWithUse: true) {
        switch $0.healthState {
        case .healthy: "healthy"
        case .unhealthy: "unhealthy"
        case .unknown, .unspecified, .unrecognized: "unknown"
        }
      },
    ]
  }

  private static var whatItHas: [Field] {
    [
      Field(
        name: "capacity.functions", type: .number,
        meaning: "how many functions it can give at a time; where there is no limit, above all numbers",
        changesWithUse: false, value: { .number($0.functionLimit) }),
      Field(
        name: "capacity.hosts", type: .number,
        meaning: "how many hosts may use functions of it at a time; where there is no limit, above all numbers",
        changesWithUse: false, value: { .number($0.hostLimit) }),
      .quantity("capacity.bandwidth", "a card's, in each direction", as: .bitRate) { $0.capacity.bitsPerSecond },
      .quantity("capacity.size", "a disk's", as: .bytes) { $0.capacity.sizeBytes },
      .quantity("capacity.operations", "what a disk does for certain in a second") { $0.capacity.operationsPerSecond },
      .quantity("capacity.throughput", "what a disk moves for certain in a second", as: .byteRate) {
        $0.capacity.bytesPerSecond
      },
      .quantity("capacity.queues", "a card's, in each direction, if they are counted") { UInt64($0.capacity.queues) },
    ]
  }

  private static var whatIsLeft: [Field] {
    [
      .used("used.functions", "functions of it that are there") { $0.functionsInUse },
      .used("used.size", "of a disk, what functions have of it", as: .bytes) {
        $0.ifAny($0.capacity.sizeBytes, $0.bytesInUse)
      },
      .used("free.functions", "how many more it can give; where there is no limit, above all numbers") {
        $0.functionLimit == .max ? .max : $0.functionLimit - min($0.functionLimit, $0.functionsInUse)
      },
      .used("used.hosts", "hosts that use functions of it") { $0.usingHosts },
      .used("free.hosts", "how many more hosts may use it; where there is no limit, above all numbers") {
        $0.hostLimit == .max ? .max : $0.hostLimit - min($0.hostLimit, $0.usingHosts)
      },
      .used("free.size", "what is left of a disk, in one piece or several", as: .bytes) {
        left($0.capacity.sizeBytes, $0.bytesInUse)
      },
      .used("free.bandwidth", "of what a card sends, the rate that no function was promised", as: .bitRate) {
        left($0.capacity.bitsPerSecond, $0.promisedBits)
      },
      .used("free.operations", "operations in a second that no function was promised") {
        left($0.capacity.operationsPerSecond, $0.promisedOperations)
      },
      .used("free.throughput", "bytes in a second that no function was promised", as: .byteRate) {
        left($0.capacity.bytesPerSecond, $0.promisedBytes)
      },
      .used("free.queues", "of a card, those that no function asked for, if they are counted") {
        left(UInt64($0.capacity.queues), $0.promisedQueues)
      },
    ]
  }

  private static var paths: [String] { ["direct", "direct-software", "fabric", "mediated"] }
  private static var consumers: [String] {
    ["host", "network_namespace", "container", "virtual_machine", "user_space", "file_server"]
  }

  private static func left(_ capacity: UInt64, _ used: UInt64) -> UInt64? {
    capacity == 0 ? nil : capacity - min(capacity, used)
  }
}

extension EndNodeFacts {
  fileprivate var device: PhysicalFunction { record.physicalFunction ?? PhysicalFunction() }
  fileprivate var capacity: Capacity { record.capacity ?? Capacity() }

  fileprivate var functionLimit: UInt64 {
    let limit = UInt64(capacity.functions)
    return limit == 0 ? .max : limit
  }

  fileprivate var hostLimit: UInt64 {
    let limit = UInt64(capacity.hosts)
    return limit == 0 ? .max : limit
  }

  fileprivate var numaNode: FieldValue {
    let host = device.controllingHost
    let root = record.roots.first { $0.host == host } ?? record.roots.first
    return root?.numaNode.flatMap { UInt64(exactly: $0) }.map { .number($0) } ?? .none
  }

  fileprivate func ifAny(_ capacity: UInt64, _ used: UInt64) -> UInt64? { capacity == 0 ? nil : used }
}

extension Capabilities {
  fileprivate var allConsumers: [String] { consumers + byPath.flatMap(\.consumers) }

  fileprivate var allAttributes: [String] {
    attributes
      + byPath.flatMap(\.attributes).filter { $0.support == .supported || $0.support == .unverified }.map(\.attribute)
  }
}

extension Path {
  /// As people write it.
  fileprivate var fieldWord: String? {
    switch self {
    case .direct: "direct"
    case .directSoftware: "direct-software"
    case .fabric: "fabric"
    case .mediated: "mediated"
    case .unspecified, .unrecognized: nil
    }
  }
}
