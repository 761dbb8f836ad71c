import BlockFunctions
import Configuration
import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Logging
import Services
import Synchronization
import Testing

@testable import iov_plugin_sas

/// A host with a SAS adapter that makes virtual functions.
private struct AdapterHost {
  static let address = PCIAddress(bus: 4, device: 0, function: 0)
  let kernel: FakeKernel

  init() throws {
    kernel = try FakeKernel()
    kernel.behaviour.withLock { $0.virtualDriver = "mpt3sas" }
    for driver in ["vfio-pci", "mpt3sas"] { kernel.make("bus/pci/drivers/\(driver)") }
    kernel.make("module/vfio_iommu_type1")
    kernel.addCard(
      FakeKernel.Card(
        address: Self.address, total: 8, driver: "mpt3sas", port: PCIAddress(bus: 0, device: 4, function: 0)))
    let place = kernel.sysfs.resolved(Self.address.sysfsPath) ?? ""
    _ = kernel.addSASHost(
      3, at: String(place.dropFirst(kernel.root.utf8.count + 1)), phys: 4, address: "0x500605b00abc0001")
  }

  /// As a new process of the plugin has them.
  func functions(wanting count: UInt32? = nil, ordered: Order = Order()) throws -> AdapterFunctions {
    let text =
      "adapters:\n  - address: 500605b00abc0001\n" + (count.map { "    virtualFunctions: \($0)\n" } ?? "")
    let configuration = try Configuration.decode(SASConfiguration.self, from: text, named: "sas.yaml")
    return AdapterFunctions(
      configuration.adapters, hostName: "host-a", stateDirectory: "\(kernel.root)/state", sysfs: kernel.sysfs,
      orderedFunctions: { $0 == "sas/hba-500605b00abc0001" ? ordered.count : nil })
  }

  /// The plugin without disks.
  func plugin(_ functions: AdapterFunctions) async throws -> SASPlugin {
    let context = PluginContext(
      hostName: "host-a", stateDirectory: "\(kernel.root)/state", runtimeDirectory: "\(kernel.root)/run",
      logger: Logger(label: "test"))
    let none = try Configuration.decode(SASConfiguration.self, from: "adapters: []\n", named: "sas.yaml")
    return try await SASPlugin(
      disks: BlockPlugin<SASDisks>(configuration: none.disks, context: context), adapters: functions, context: context)
  }

  func request(_ token: UInt64 = 1, _ consumer: Consumer.Kind = .userSpace(UserSpaceConsumer())) -> FunctionRequest {
    FunctionRequest {
      $0.role = .direct
      $0.assignment = Assignment {
        $0.endNode = "sas/hba-500605b00abc0001"
        $0.function = "sas/hba-500605b00abc0001/\(token)"
        $0.claim = "claim-\(token)"
        $0.deviceClass = "sas"
        $0.path = .direct
        $0.token = FencingToken { $0.value = token }
        $0.consumer = Consumer { $0.kind = consumer }
      }
    }
  }

  /// What a kernel with VFIO shows of a function that is bound to it.
  func showDevice(_ address: PCIAddress) { kernel.make("\(address.sysfsPath)/vfio-dev/vfio3") }

  var driversOfFunctions: [String?] {
    kernel.sysfs.sriovCapability(of: Self.address)?.functions.map(\.driver) ?? []
  }
}

/// What an operator wants, which may change.
private final class Order: Sendable {
  private let state: Mutex<UInt32?>

  init(_ count: UInt32? = nil) { state = Mutex(count) }

  var count: UInt32? {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}

@Suite struct AdapterTests {
  @Test func anAdapterIsAnEndNodeWithAsManyFunctionsAsAreWanted() throws {
    let host = try AdapterHost()
    let functions = try host.functions(wanting: 4)
    let before = try #require(try functions.endNodes().first)
    #expect(before.health?.state == .unhealthy)
    try functions.settleCounts()
    let node = try #require(try functions.endNodes().first)
    #expect(node.id == "sas/hba-500605b00abc0001" && node.deviceClass == "sas")
    #expect(node.health?.state == .healthy && node.capacity?.functions == 4 && node.capacity?.sizeBytes == 0)
    #expect(node.capabilities?.paths == [.direct])
    #expect(node.capabilities?.consumers.contains("host") == false)
    #expect(node.physicalFunction?.functionCount?.maximum == 8)
    #expect(node.physicalFunction?.functionCount?.present == 4)
    // None of them has a driver that would show its disks here.
    #expect(host.driversOfFunctions == [nil, nil, nil, nil])
  }

  @Test func withoutSRIOVOrAnEntryThereIsNone() throws {
    let host = try AdapterHost()
    let others = try Configuration.decode(
      SASConfiguration.self, from: "adapters:\n  - address: \"0x500605b00abc0002\"\n", named: "sas.yaml")
    let functions = AdapterFunctions(
      others.adapters, hostName: "host-a", stateDirectory: "\(host.kernel.root)/state", sysfs: host.kernel.sysfs)
    #expect(try functions.endNodes().isEmpty)
    host.kernel.put("0", at: "\(AdapterHost.address.sysfsPath)/sriov_totalvfs")
    #expect(try host.functions().endNodes().isEmpty)
  }

  @Test func aFunctionIsInTheHandsOfWhoDrivesItAndComesBackReset() throws {
    let host = try AdapterHost()
    let functions = try host.functions(wanting: 2)
    try functions.settleCounts()
    let request = host.request()
    #expect(try functions.create(request).phase == .created)
    #expect(try functions.create(request).phase == .created)
    let address = try #require(host.kernel.sysfs.sriovCapability(of: AdapterHost.address)?.functions.first?.address)
    host.showDevice(address)
    let status = try functions.attach(request)
    #expect(status.phase == .inUse && status.arrival?.pciAddress == "\(address)")
    #expect(status.arrival?.iommuGroup != nil)
    #expect(host.driversOfFunctions == ["vfio-pci", nil])
    // By another run of the plugin, too.
    let again = try host.functions(wanting: 2)
    #expect(try again.observe(request) == status)
    #expect(throws: PluginError.self) { try again.destroy(request) }

    #expect(try again.detach(request).phase == .created)
    #expect(host.driversOfFunctions == [nil, nil])
    #expect(host.kernel.writes.withLock { $0 }.contains("\(address.sysfsPath)/reset=1"))
    #expect(try again.destroy(request).phase == .absent)
    #expect(try again.detach(request).phase == .absent)
    #expect(SmallFile.names(in: "\(host.kernel.root)/state/adapters") == [])
  }

  @Test func eachHasItsOwnAndNoMoreThanThereAre() throws {
    let host = try AdapterHost()
    let functions = try host.functions(wanting: 2)
    try functions.settleCounts()
    for token in UInt64(1)...2 { _ = try functions.create(host.request(token)) }
    let error = #expect(throws: PluginError.self) { try functions.create(host.request(3)) }
    #expect(error?.code == .resourceExhausted && error?.message.contains("8 at most") == true)
    #expect(try functions.problems(with: host.request(3)).count == 1)
    // What is held keeps the number as it is.
    let more = try host.functions(wanting: 4)
    try more.settleCounts()
    let count = try #require(try more.endNodes().first?.physicalFunction?.functionCount)
    #expect(count.present == 2 && count.held.count == 2 && !count.message.isEmpty)
    for token in UInt64(1)...2 { _ = try more.destroy(host.request(token)) }
    #expect(try more.endNodes().first?.physicalFunction?.functionCount?.present == 4)
  }

  @Test func anOperatorsNumberGoesBeforeTheConfigurations() throws {
    let host = try AdapterHost()
    let order = Order(3)
    let functions = try host.functions(wanting: 4, ordered: order)
    func count() throws -> FunctionCount {
      try #require(try functions.endNodes().first?.physicalFunction?.functionCount)
    }
    #expect(try count().settable && count().ordered == 3 && count().wanted == 3)
    try functions.settleCounts()
    #expect(try count().present == 3 && count().message.isEmpty)
    let numvfs = "\(AdapterHost.address.sysfsPath)/sriov_numvfs"
    #expect(host.kernel.writes.withLock { $0.filter { $0.hasPrefix(numvfs) } } == ["\(numvfs)=3"])
    order.count = 9
    #expect(try count().message.isEmpty)
    try functions.settleCounts()
    #expect(try count().present == 3 && count().ordered == 9 && count().message.contains("9"))
    order.count = nil
    try functions.settleCounts()
    #expect(try count().present == 4 && count().wanted == 4 && count().ordered == nil)
    // Without a word from anybody it stays.
    let others = try host.functions(ordered: order)
    order.count = 2
    try others.settleCounts()
    order.count = nil
    try others.settleCounts()
    #expect(host.driversOfFunctions.count == 2)
    #expect(try others.endNodes().first?.physicalFunction?.functionCount?.wanted == nil)
  }

  @Test(.timeLimit(.minutes(1)))
  func whenTheLastIsDestroyedTheNumberFollowsAndTheAgentIsTold() async throws {
    let host = try AdapterHost()
    let functions = try host.functions(wanting: 2)
    try functions.settleCounts()
    for token in UInt64(1)...2 { _ = try functions.create(host.request(token)) }
    let order = Order(5)
    let plugin = try await host.plugin(host.functions(wanting: 2, ordered: order))
    let endNode = "sas/hba-500605b00abc0001"
    try await plugin.settleFunctionCount(of: endNode)
    let count = try #require(try await plugin.discover().first?.physicalFunction?.functionCount)
    #expect(count.present == 2 && count.ordered == 5 && count.held.count == 2)
    _ = try await plugin.destroy(host.request(1))
    #expect(host.driversOfFunctions.count == 2)
    var changes = plugin.watch().makeAsyncIterator()
    _ = try await plugin.destroy(host.request(2))
    #expect(host.driversOfFunctions.count == 5)
    #expect(await changes.next() != nil)
    order.count = 1
    try await plugin.settleFunctionCount(of: endNode)
    #expect(host.driversOfFunctions.count == 1)
  }

  @Test func anAdapterOfTwoEndNodesIsNobodysToOrder() throws {
    let host = try AdapterHost()
    let text =
      "adapters:\n  - address: 500605b00abc0001\n    virtualFunctions: 2\n  - address: \"0x500605b00abc0001\"\n"
    let twice = try Configuration.decode(SASConfiguration.self, from: text, named: "sas.yaml")
    let functions = AdapterFunctions(
      twice.adapters, hostName: "host-a", stateDirectory: "\(host.kernel.root)/state", sysfs: host.kernel.sysfs,
      orderedFunctions: { _ in 7 })
    try functions.settleCounts()
    #expect(host.driversOfFunctions.count == 2)
    #expect(try functions.endNodes().allSatisfy { $0.physicalFunction?.functionCount?.settable == false })
  }

  @Test func whoCannotDriveItDoesNotGetIt() throws {
    let host = try AdapterHost()
    let functions = try host.functions(wanting: 1)
    try functions.settleCounts()
    for consumer in [Consumer.Kind.host(HostConsumer()), .container(ContainerConsumer())] {
      let error = #expect(throws: PluginError.self) { try functions.create(host.request(1, consumer)) }
      #expect(error?.code == .invalidArgument)
    }
  }

  @Test func anAdapterThatIsGoneKeepsWhatIsKnownOfIt() throws {
    let host = try AdapterHost()
    let functions = try host.functions(wanting: 1)
    try functions.settleCounts()
    let request = host.request()
    _ = try functions.create(request)
    host.kernel.remove("class/sas_host/host3")
    #expect(throws: PluginError.self) { try functions.detach(request) }
    #expect(throws: PluginError.self) { try functions.observe(request) }
    #expect(throws: PluginError.self) { try functions.destroy(request) }
  }

  @Test func anAddressThatIsNoneIsRefusedInTheConfiguration() {
    let error = #expect(throws: (any Error).self) {
      try Configuration.decode(SASConfiguration.self, from: "adapters:\n  - address: host3\n", named: "sas.yaml")
    }
    #expect(error.map { "\($0)" }?.contains("SAS address") == true)
  }
}
