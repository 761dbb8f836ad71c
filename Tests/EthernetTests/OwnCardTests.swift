import FakeDevices
import FunctionPluginKit
import Glibc
import LinuxDevices
import Logging
import Services
import Synchronization
import Testing

@testable import iov_plugin_ethernet

/// A card's own functions, through the plugin, on a kernel that refuses what it is told to refuse.
@Suite struct OwnCardTests {
  private let host: CardHost
  private let functions: EthernetFunctions
  private let endNode = "ethernet/\(CardHost.permanentAddress?.description ?? "")"
  private var kernel: FakeKernel { host.kernel }
  private var numvfs: String { "\(CardHost.address.sysfsPath)/sriov_numvfs" }

  init() throws {
    host = try CardHost()
    functions = try Self.functions(on: host, wanted: 4)
  }

  /// A new process of the plugin, as far as the card can tell.
  private static func functions(
    on host: CardHost, wanted: UInt32?, table: FunctionTable = FunctionTable(), ordered: Order = Order()
  ) throws -> EthernetFunctions {
    let namespace = try NetworkNamespace.current()
    return try EthernetFunctions(
      hostName: "a",
      configuration: EthernetConfiguration(
        endNodes: [InterfaceSelection(.exactly(CardHost.interface), virtualFunctions: wanted)]),
      namespace: namespace, route: RouteNetlink(in: namespace, through: host), sysfs: host.kernel.sysfs, table: table,
      containers: ContainerDeviceDirectory(path: "\(host.kernel.root)/cdi"), carrierPatience: .milliseconds(300),
      orderedFunctions: { $0.hasPrefix("ethernet/") ? ordered.count : nil })
  }

  private func request(_ number: Int = 1, _ change: (inout Assignment) -> Void = { _ in }) -> FunctionRequest {
    var assignment = Assignment {
      $0.function = "\(endNode)/\(number)"
      $0.endNode = endNode
      $0.deviceClass = "ethernet"
      $0.claim = "claim\(number)"
      $0.path = .direct
      $0.token = FencingToken { $0.value = UInt64(number) }
      $0.attributes = Attributes {
        $0.ethernet = EthernetAttributes { $0.macAddress = "02:00:00:00:00:0\(number)" }
      }
    }
    change(&assignment)
    return FunctionRequest {
      $0.assignment = assignment
      $0.role = .direct
    }
  }

  private func shown(by functions: EthernetFunctions? = nil) throws -> EndNode {
    let functions = functions ?? self.functions
    return try #require(try functions.cards().map(functions.endNode).first)
  }

  private func refusal(_ body: () throws -> Void) -> PluginError? {
    do {
      try body()
      return nil
    } catch {
      return PluginError(error)
    }
  }

  // MARK: How many there are

  @Test func aCardMakesWhatItsConfigurationSaysAndGivesThemAway() throws {
    try functions.settleCounts()
    let node = try shown()
    #expect(node.capabilities?.paths.first == .direct)
    #expect(node.capabilities?.byPath.first?.functions == 4)
    // Nothing on this host configures what nobody has.
    #expect(host.functions.map(\.driver) == [nil, nil, nil, nil])
    let status = try functions.attach(request())
    #expect(status.phase == .inUse)
    let name = try #require(status.arrival?.interfaceName)
    #expect(host.interfaces[name]?.isUp == true)
    #expect(try functions.detach(request()).phase == .created)
    #expect(try functions.destroy(request()).phase == .absent)
    #expect(host.interfaces.isEmpty)
  }

  @Test func fewerThanAskedForAreUsedAndShown() throws {
    kernel.behaviour.withLock { $0.most = 2 }
    try functions.settleCounts()
    let count = try #require(try shown().physicalFunction?.functionCount)
    #expect(count.present == 2 && count.wanted == 4)
    #expect(count.message == "the driver made 2 of the 4 functions that are wanted")
    #expect(try shown().capabilities?.byPath.first?.functions == 2)
    // That is the answer, whoever has one of them: nobody is waited for.
    _ = try functions.attach(request())
    try functions.settleCounts()
    let held = try #require(try shown().physicalFunction?.functionCount)
    #expect(held.held.isEmpty && held.message == count.message)
    _ = try functions.detach(request())
    _ = try functions.destroy(request())
    // What the driver has answered once it is not asked again, until somebody says that something has changed.
    let writes = kernel.writes.withLock { $0.count { $0.hasPrefix(numvfs) } }
    try functions.settleCounts()
    #expect(kernel.writes.withLock { $0.count { $0.hasPrefix(numvfs) } } == writes)
    kernel.behaviour.withLock { $0.most = .max }
    functions.forgetFindings()
    try functions.settleCounts()
    #expect(host.functions.count == 4)
  }

  @Test(
    arguments: [(EBUSY, "it is busy"), (ENOMEM, "has no room for them"), (EOPNOTSUPP, "in its present mode")]
      as [(CInt, String)])
  func aDriverThatRefusesIsQuotedAndAskedAgainAtARescan(errno: CInt, words: String) throws {
    kernel.behaviour.withLock { $0.refusals[numvfs] = [errno] }
    try functions.settleCounts()
    let count = try #require(try shown().physicalFunction?.functionCount)
    #expect(count.present == 0)
    #expect(count.message.contains(words), "\(count.message)")
    // Without functions of its own the card is shared in software all the same.
    #expect(try shown().capabilities?.paths == [.directSoftware, .mediated])
    try functions.settleCounts()
    #expect(host.functions.isEmpty)
    functions.forgetFindings()
    try functions.settleCounts()
    #expect(host.functions.count == 4)
  }

  @Test func theCountStaysWhileAnyIsHeldAndThePlanNamesIt() throws {
    try functions.settleCounts()
    _ = try functions.attach(request())
    let fewer = try EthernetFunctions(
      hostName: "a",
      configuration: EthernetConfiguration(
        endNodes: [InterfaceSelection(.exactly(CardHost.interface), virtualFunctions: 2)]),
      namespace: functions.namespace, route: functions.route, sysfs: kernel.sysfs, table: functions.table,
      containers: functions.containers)
    try fewer.settleCounts()
    let count = try #require(try shown(by: fewer).physicalFunction?.functionCount)
    #expect(count.present == 4 && count.wanted == 2)
    #expect(count.held == ["\(endNode)/1"])
    #expect(host.functions.count == 4)
    _ = try fewer.destroy(request())
    try fewer.settleCounts()
    #expect(host.functions.count == 2)
  }

  // MARK: How many an operator wants

  private func count(shownBy functions: EthernetFunctions) throws -> FunctionCount {
    try #require(try shown(by: functions).physicalFunction?.functionCount)
  }

  @Test func anOperatorsNumberGoesBeforeTheConfigurationsUntilItIsTakenAway() throws {
    let order = Order(2)
    let functions = try Self.functions(on: host, wanted: 4, ordered: order)
    // Said, and not yet carried out: nothing that it is shown with is an answer.
    let before = try count(shownBy: functions)
    #expect(before.settable && before.ordered == 2 && before.wanted == 2 && before.present == 0)
    #expect(before.held.isEmpty && before.message.isEmpty)
    try functions.settleCounts()
    #expect(try count(shownBy: functions).present == 2)
    // The configuration's number was not made before it.
    #expect(kernel.writes.withLock { $0.filter { $0.hasPrefix(numvfs) } } == ["\(numvfs)=2"])
    order.count = nil
    try functions.settleCount(of: endNode)
    let after = try count(shownBy: functions)
    #expect(after.ordered == nil && after.wanted == 4 && after.present == 4)
    order.count = 0
    try functions.settleCount(of: endNode)
    #expect(try count(shownBy: functions).present == 0 && count(shownBy: functions).settable)
    #expect(try shown(by: functions).capabilities?.paths == [.directSoftware, .mediated])
  }

  @Test func whereTheConfigurationSaysNothingTheNumberStaysAsItWasOrdered() throws {
    let order = Order(3)
    let functions = try Self.functions(on: host, wanted: nil, ordered: order)
    try functions.settleCounts()
    // Nothing on this host configures what nobody has.
    #expect(host.functions.map(\.driver) == [nil, nil, nil])
    order.count = nil
    try functions.settleCounts()
    let count = try count(shownBy: functions)
    #expect(count.present == 3 && count.wanted == nil && count.ordered == nil && count.message.isEmpty)
  }

  @Test func aHeldFunctionKeepsTheNumberAlsoFromAnOperator() throws {
    try functions.settleCounts()
    _ = try functions.attach(request())
    let order = Order(2)
    let ordered = try Self.functions(on: host, wanted: 4, table: functions.table, ordered: order)
    try ordered.settleCount(of: endNode)
    let count = try count(shownBy: ordered)
    #expect(count.present == 4 && count.wanted == 2 && count.ordered == 2)
    #expect(count.held == ["\(endNode)/1"] && count.message.contains("\(endNode)/1"))
    #expect(host.functions.count == 4)
    // What keeps the card from one number is not shown as if it kept it from another.
    order.count = 3
    #expect(try self.count(shownBy: ordered).message.isEmpty)
  }

  @Test func moreThanTheCardCanMakeAreRefusedInWords() throws {
    let functions = try Self.functions(on: host, wanted: nil, ordered: Order(99))
    try functions.settleCounts()
    let count = try count(shownBy: functions)
    #expect(count.present == 0 && count.ordered == 99 && count.message.contains("99"))
  }

  @Test(.timeLimit(.minutes(1)))
  func whenTheLastIsDestroyedTheNumberFollowsAndTheAgentIsTold() async throws {
    try functions.settleCounts()
    _ = try functions.attach(request())
    let order = Order(2)
    let ordered = try Self.functions(on: host, wanted: 4, table: functions.table, ordered: order)
    let context = PluginContext(
      hostName: "a", stateDirectory: "\(kernel.root)/state", runtimeDirectory: "\(kernel.root)/run",
      logger: Logger(label: "test"))
    let plugin = try await EthernetPlugin(functions: ordered, context: context)
    #expect(host.functions.count == 4)
    var changes = plugin.watch().makeAsyncIterator()
    #expect(try await plugin.destroy(request()).phase == .absent)
    #expect(host.functions.count == 2)
    #expect(await changes.next() != nil)
    order.count = 5
    try await plugin.settleFunctionCount(of: endNode)
    #expect(host.functions.count == 5)
  }

  // MARK: Giving one away

  @Test func theAddressIsSetBeforeTheDriverReadsIt() throws {
    try functions.settleCounts()
    let host = host
    let seen = Seen()
    kernel.behaviour.withLock { behaviour in
      behaviour.before["bus/pci/drivers_probe"] = {
        seen.address = host.card.state.withLock { $0.functions[0]?.macAddress }
      }
    }
    _ = try functions.attach(request())
    #expect(seen.address == MACAddress("02:00:00:00:00:01"))
  }

  @Test func aFunctionWhoseGroupAnotherDriverUsesGoesToNoMachine() throws {
    try functions.settleCounts()
    let first = try #require(host.functions.first)
    let neighbour = PCIAddress(bus: 0, device: 3, function: 1)
    kernel.addFunction(
      neighbour, below: "devices/pci0000:00", PCIIdentifiers(vendor: 1, device: 2, classCode: 0x010601), driver: "ahci",
      group: first.iommuGroup)
    let machine = request { $0.consumer = Consumer { $0.kind = .virtualMachine(VirtualMachineConsumer()) } }
    let error = refusal { _ = try functions.attach(machine) }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains("\(neighbour) (driver ahci)") == true)
    #expect(host.functions.first?.driver == nil)
    #expect(kernel.sysfs.driver(of: neighbour) == "ahci")
    // The host, whose driver needs no group to itself, may have it.
    #expect(try functions.destroy(machine).phase == .absent)
    #expect(try functions.attach(request()).phase == .inUse)
  }

  @Test(arguments: ["bus/pci/drivers_probe", "driver_override"])
  func aCardThatIsPulledOutInTheMiddleOfAnAttachTakesTheFunctionWithIt(attribute: String) throws {
    try functions.settleCounts()
    let first = try #require(host.functions.first)
    let host = host
    let path = attribute.hasPrefix("bus") ? attribute : "\(first.address.sysfsPath)/\(attribute)"
    kernel.behaviour.withLock { $0.before[path] = { host.unplug() } }
    let error = try #require(refusal { _ = try functions.attach(request()) })
    #expect(error.code == .unavailable, "\(error)")
    #expect(try functions.observe { _ in nil }.isEmpty)
    #expect(try functions.detach(request()).phase == .absent)
    // Put back, it makes its functions again, and the claim gets its own.
    host.plugIn()
    try functions.settleCounts()
    #expect(try functions.attach(request()).phase == .inUse)
    #expect(try functions.destroy(request()).phase == .absent)
    #expect(functions.table.functions.isEmpty)
  }

  @Test func aProgramInAContainerGetsFilesAndNoInterface() throws {
    try functions.settleCounts()
    let first = try #require(host.functions.first)
    kernel.make("\(first.address.sysfsPath)/vfio-dev/vfio3")
    let program = request {
      $0.consumer = Consumer { $0.kind = .container(ContainerConsumer { $0.userSpace = true }) }
    }
    let status = try functions.attach(program)
    #expect(status.phase == .inUse)
    #expect(status.arrival?.cdiDevice == "iovmesh.io/ethernet=claim1")
    #expect(status.arrival?.interfaceName == "")
    let file = try #require(SmallFile.names(in: functions.containers.path).first)
    let text = try #require(SmallFile.text("\(functions.containers.path)/\(file)"))
    for part in ["/dev/vfio/vfio", "/dev/vfio/\(first.iommuGroup ?? 0)", "IOV_PCI_ADDRESS=\(first.address)"] {
      #expect(text.contains("\"\(part)\""))
    }
    #expect(!text.contains("netDevices"))
    #expect(try functions.detach(program).phase == .created)
    #expect(SmallFile.names(in: functions.containers.path).isEmpty)
    #expect(host.functions.first?.driver == nil)
  }

  // MARK: Rates and the carrier

  private var limited: FunctionRequest {
    request { $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 100_000_000 }
  }

  @Test func aLimitWaitsForTheCarrierThatItsDriverNeeds() throws {
    try functions.settleCounts()
    host.bringCarrier(afterLooks: 3)
    #expect(try functions.attach(limited).phase == .inUse)
    #expect(host.card.state.withLock { $0.functions[0]?.maximumTransmitBitsPerSecond } == 100_000_000)
  }

  @Test func withoutACarrierTheLimitIsWhatIsMissing() throws {
    try functions.settleCounts()
    host.hasCarrier = false
    let error = refusal { _ = try functions.attach(limited) }
    #expect(error?.code == .unavailable)
    #expect(error?.message.contains("has no carrier, and its driver igb takes rates only with one") == true)
    // Who asks for no limit need not wait.
    #expect(try functions.attach(request(2)).phase == .inUse)
  }

  @Test func theDriverIsAskedWhatItTakesWhenThereIsACarrier() throws {
    host.hasCarrier = false
    try functions.settleCounts()
    func support() throws -> AttributeSupport? {
      try shown().capabilities?.byPath.first?.attributes.first {
        $0.attribute == "ethernet.max_transmit_bits_per_second"
      }
    }
    #expect(try support()?.support == .unverified)
    host.hasCarrier = true
    try functions.settleCounts()
    #expect(try support()?.support == .supported)
    #expect(try shown().physicalFunction?.quirks.contains { $0.contains("takes limits only with a carrier") } == true)
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

private final class Seen: Sendable {
  private let state = Mutex<MACAddress?>(nil)
  var address: MACAddress? {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}
