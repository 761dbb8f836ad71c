import Configuration
import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Logging
import Services
import Synchronization
import Testing

@testable import BlockFunctions
@testable import iov_plugin_nvme

/// Namespaces of a drive of the tests, through all that is the same for classes of disks.
private struct HostedDisks: DiskClass {
  static let name = NVMeDisks.name
  static let givesWholeDisks = NVMeDisks.givesWholeDisks
  static let countsFunctions = NVMeDisks.countsFunctions
  /// By the plugin's state directory, which is all that a class is given.
  static let hosts = Mutex<[String: FakeDriveHost]>([:])

  let disks: NVMeDisks

  init(context: PluginContext) throws {
    let host = try #require(Self.hosts.withLock { $0[context.stateDirectory] })
    disks = NVMeDisks(access: host.access, hostName: context.hostName, stateDirectory: context.stateDirectory)
  }

  func describe(_ path: String) throws -> DiskDescription? { try disks.describe(path) }
  func rescan() { disks.rescan() }
  func settleFunctions(of disk: DiskDescription, wanted: UInt32?) { disks.settleFunctions(of: disk, wanted: wanted) }
  func give(_ disk: DiskDescription, to function: String) throws -> PCIAddress { try disks.give(disk, to: function) }
  func takeBack(_ disk: DiskDescription, from function: String) throws { try disks.takeBack(disk, from: function) }
}

/// How many functions an operator wants a drive to make.
@Suite struct OrderedCountTests {
  private let host: FakeDriveHost
  private let orders = Orders()

  private final class Orders: Sendable {
    private let state = Mutex<[String: UInt32]>([:])

    subscript(endNode: String) -> UInt32? {
      get { state.withLock { $0[endNode] } }
      set { state.withLock { $0[endNode] = newValue } }
    }
  }

  init() throws {
    host = try FakeDriveHost(namespaces: [1, 2])
    for resource in [NVMeResource.queues, .interrupts] {
      _ = try host.drive.controller().send(VirtualizationManagement(.allocateToPrimary(resource, 0), controller: 0))
    }
    host.drive.resetPrimary()
  }

  private func endNode(_ number: Int) -> String { "nvme/eui." + String(repeating: "0", count: 31) + "\(number)" }

  /// As a new process of the plugin has them.
  private func disks(namespaces: [UInt32] = [1], wanting count: UInt32? = nil) throws -> Disks<HostedDisks> {
    let state = "\(host.kernel.root)/state"
    HostedDisks.hosts.withLock { $0[state] = host }
    defer { HostedDisks.hosts.withLock { $0[state] = nil } }
    let entries = namespaces.map { number in
      // By a path that leads out of /dev, where the drive's namespaces are not.
      "  - device: /dev/..\(host.path(number))\n" + (count.map { "    virtualFunctions: \($0)\n" } ?? "")
    }
    let orders = orders
    let context = PluginContext(
      hostName: "host-a", stateDirectory: state, runtimeDirectory: "\(host.kernel.root)/run",
      logger: Logger(label: "test"), functionCount: { orders[$0] })
    return try Disks(
      configuration: Configuration.decode(
        BlockConfiguration<HostedDisks>.self, from: "endNodes:\n" + entries.joined(), named: "nvme.yaml"),
      context: context)
  }

  private func count(_ disks: Disks<HostedDisks>, of endNode: String? = nil) throws -> FunctionCount {
    let endNodes = try disks.endNodes()
    let found = endNode.map { id in endNodes.first { $0.id == id } } ?? endNodes.first
    return try #require(found?.physicalFunction?.functionCount)
  }

  @Test func anOperatorsNumberGoesBeforeTheConfigurations() throws {
    orders[endNode(1)] = 3
    let disks = try disks(wanting: 2)
    // Said, and not yet carried out.
    let before = try count(disks)
    #expect(before.settable && before.ordered == 3 && before.wanted == 3 && before.present == 0)
    try disks.settleFunctions()
    #expect(try count(disks).present == 3)
    let numvfs = "\(FakeDriveHost.address.sysfsPath)/sriov_numvfs"
    #expect(host.kernel.writes.withLock { $0.filter { $0.hasPrefix(numvfs) } } == ["\(numvfs)=3"])
    orders[endNode(1)] = nil
    try disks.settleFunctions()
    let after = try count(disks)
    #expect(after.present == 2 && after.wanted == 2 && after.ordered == nil)
  }

  @Test func noneCanBeOrderedAndSomeAgain() throws {
    orders[endNode(1)] = 0
    let disks = try disks()
    try disks.settleFunctions()
    #expect(try count(disks).settable && count(disks).present == 0)
    #expect(try !disks.description(of: endNode(1)).makesFunctions)
    orders[endNode(1)] = 1
    try disks.settleFunctions()
    #expect(try count(disks).present == 1 && disks.description(of: endNode(1)).makesFunctions)
    // Where nobody says a number any more it stays.
    orders[endNode(1)] = nil
    try disks.settleFunctions()
    #expect(try count(disks).present == 1 && count(disks).wanted == nil)
  }

  @Test func aFunctionInUseKeepsTheNumber() throws {
    let disks = try disks(wanting: 2)
    try disks.settleFunctions()
    _ = try disks.give(disks.description(of: endNode(1)), to: "f/1")
    orders[endNode(1)] = 4
    let before = try count(disks)
    #expect(before.ordered == 4 && before.held.isEmpty && before.message.isEmpty)
    try disks.settleFunctions()
    let held = try count(disks)
    #expect(held.present == 2 && held.wanted == 4 && held.held == ["f/1"] && held.message.contains("f/1"))
    try disks.takeBack(disks.description(of: endNode(1)), from: "f/1")
    try disks.settleFunctions()
    #expect(try count(disks).present == 4 && count(disks).held.isEmpty)
  }

  @Test func moreThanTheDriveCanMakeAreRefusedInWords() throws {
    orders[endNode(1)] = 9
    let disks = try disks()
    try disks.settleFunctions()
    #expect(try count(disks).present == 0 && count(disks).message.contains("9"))
    orders[endNode(1)] = 4
    #expect(try count(disks).message.isEmpty)
  }

  @Test func withADamagedRecordNothingIsDestroyedAndItIsSaid() throws {
    let disks = try disks(wanting: 2)
    try disks.settleFunctions()
    _ = try disks.give(disks.description(of: endNode(1)), to: "f/1")
    let directory = "\(host.kernel.root)/state/away"
    let file = try #require(SmallFile.names(in: directory).first)
    try SmallFile.replace("\(directory)/\(file)", with: Array("nonsense\n".utf8), durably: false)
    orders[endNode(2)] = 4
    let other = try self.disks(namespaces: [2])
    try other.settleFunctions()
    let count = try count(other)
    #expect(count.present == 2 && count.wanted == 4 && count.message.contains("damaged"))
  }

  @Test func aDriveOfTwoEndNodesIsNobodysToOrder() throws {
    orders[endNode(1)] = 3
    let disks = try disks(namespaces: [1, 2], wanting: 2)
    try disks.settleFunctions()
    for number in 1...2 {
      let count = try count(disks, of: endNode(number))
      #expect(!count.settable && count.present == 2 && count.wanted == 2 && count.message.isEmpty)
    }
  }
}
