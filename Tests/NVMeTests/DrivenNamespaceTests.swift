import BlockFunctions
import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_nvme

@Suite struct DrivenNamespaceTests {
  private func disks(_ host: FakeDriveHost) -> NVMeDisks {
    NVMeDisks(access: host.access, hostName: "host-a", stateDirectory: "\(host.kernel.root)/state")
  }

  /// Whose primary keeps no queues that could be given away.
  private func host(namespaces: [UInt32] = [1]) throws -> FakeDriveHost {
    let host = try FakeDriveHost(namespaces: namespaces)
    for resource in [NVMeResource.queues, .interrupts] {
      _ = try host.drive.controller().send(VirtualizationManagement(.allocateToPrimary(resource, 0), controller: 0))
    }
    host.drive.resetPrimary()
    return host
  }

  /// As before, but that its drive has functions now.
  private func expectHere(_ disk: DiskDescription, on host: FakeDriveHost) throws {
    let now = try #require(try disks(host).describe(host.path(1)))
    #expect(!now.isAway)
    #expect(now.identity == disk.identity && now.facts == disk.facts && now.devices == disk.devices)
    #expect(now.physicalFunction.functionCount?.present == 4)
  }

  @Test func aVirtualFunctionAloneReachesTheNamespace() throws {
    let host = try host(namespaces: [1, 2])
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    #expect(disk.makesFunctions)
    let address = try disks.give(disk, to: "f/1")
    #expect(try disks.give(disk, to: "f/1") == address)
    #expect(host.kernel.sysfs.driver(of: address) == "vfio-pci")
    #expect(host.drive.namespace(1)?.attached == [1])
    #expect(host.drive.namespace(2)?.attached == [0])
    let secondary = try #require(host.drive.secondary(1))
    #expect(secondary.isOnline && secondary.queues >= 2 && secondary.interrupts >= 1)
    #expect(host.kernel.sysfs.names(in: "block") == ["nvme0n2"])
  }

  @Test func whileItIsAwayItIsKnownAlsoAfterARestart() throws {
    let host = try host()
    let disk = try #require(try disks(host).describe(host.path(1)))
    let address = try disks(host).give(disk, to: "f/1")
    let again = disks(host)
    let away = try #require(try again.describe(host.path(1)))
    #expect(away.isAway && away.makesFunctions)
    #expect(away.identity == disk.identity)
    #expect(away.facts == disk.facts)
    #expect(try again.given(away, to: "f/1") == address)
    #expect(try again.given(away, to: "f/2") == nil)
    #expect(throws: PluginError.self) { try again.give(away, to: "f/2") }
  }

  @Test func takenBackItIsThisHostsDiskAgain() throws {
    let host = try host()
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    let address = try disks.give(disk, to: "f/1")
    let away = try #require(try disks.describe(host.path(1)))
    try disks.takeBack(away, from: "f/1")
    try disks.takeBack(away, from: "f/1")
    try expectHere(disk, on: host)
    #expect(host.kernel.sysfs.driver(of: address) == nil)
    #expect(host.drive.namespace(1)?.attached == [0])
    let secondary = try #require(host.drive.secondary(1))
    #expect(!secondary.isOnline && secondary.queues == 0 && secondary.interrupts == 0)
    #expect(host.kernel.writes.withLock { $0 }.contains("\(address.sysfsPath)/reset=1"))
  }

  @Test func twoNamespacesHaveAFunctionEach() throws {
    let host = try host(namespaces: [1, 2])
    let disks = disks(host)
    let addresses = try [UInt32(1), 2].map { number in
      try disks.give(#require(try disks.describe(host.path(number))), to: "f/\(number)")
    }
    #expect(addresses[0] != addresses[1])
    #expect(host.drive.namespace(1)?.attached == [1])
    #expect(host.drive.namespace(2)?.attached == [2])
    #expect(host.kernel.writes.withLock { $0 }.filter { $0.contains("sriov_numvfs") }.count == 1)
  }

  @Test func aFunctionThatADriveAttachedToEverythingReachesItsOwnAlone() throws {
    let host = try host(namespaces: [1, 2])
    for number in UInt32(1)...2 {
      try host.drive.controller().send(NamespaceAttachment(.attach, namespace: number, controllers: [1, 2, 3, 4]))
    }
    let disks = disks(host)
    _ = try disks.give(#require(try disks.describe(host.path(1))), to: "f/1")
    #expect(host.drive.namespace(1)?.attached == [1])
    #expect(host.drive.namespace(2)?.attached == [0, 2, 3, 4])
  }

  @Test func aDriveHasAsManyFunctionsAsTheConfigurationWants() throws {
    let host = try host()
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    disks.settleFunctions(of: disk, wanted: 2)
    let count = try #require(try disks.describe(host.path(1))?.physicalFunction.functionCount)
    #expect(count.present == 2 && count.wanted == 2 && count.message == "")
    #expect(host.kernel.sysfs.integer("\(FakeDriveHost.address.sysfsPath)/sriov_drivers_autoprobe") == UInt32(0))
    // Nothing is written twice.
    let writes = host.kernel.writes.withLock { $0 }
    disks.settleFunctions(of: disk, wanted: 2)
    #expect(host.kernel.writes.withLock { $0 } == writes)
  }

  @Test func theNumberStaysWhileAFunctionIsInUse() throws {
    let host = try host()
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    disks.settleFunctions(of: disk, wanted: 2)
    let address = try disks.give(disk, to: "f/1")
    let away = try #require(try disks.describe(host.path(1)))
    disks.settleFunctions(of: away, wanted: 4)
    let count = try #require(try disks.describe(host.path(1))?.physicalFunction.functionCount)
    #expect(count.present == 2 && count.wanted == 4 && count.held == ["f/1"] && count.message.contains("f/1"))
    #expect(try disks.given(away, to: "f/1") == address)

    try disks.takeBack(away, from: "f/1")
    disks.settleFunctions(of: disk, wanted: 4)
    #expect(try disks.describe(host.path(1))?.physicalFunction.functionCount?.present == 4)
  }

  @Test func moreThanThereCanBeAreAskedForInVain() throws {
    let host = try host()
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    disks.settleFunctions(of: disk, wanted: 9)
    let count = try #require(try disks.describe(host.path(1))?.physicalFunction.functionCount)
    #expect(count.present == 0 && count.message.contains("9"))
  }

  @Test func withNoneWantedNoneIsGiven() throws {
    let host = try host()
    let disks = disks(host)
    disks.settleFunctions(of: try #require(try disks.describe(host.path(1))), wanted: 0)
    let disk = try #require(try disks.describe(host.path(1)))
    #expect(!disk.makesFunctions)
    #expect(throws: PluginError.self) { try disks.give(disk, to: "f/1") }
  }

  @Test func withoutQueuesToGiveItSaysWhereTheyAre() throws {
    let host = try FakeDriveHost()
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    let error = #expect(throws: PluginError.self) { try disks.give(disk, to: "f/1") }
    #expect(error?.message.contains("virt-mgmt") == true)
    // What was begun is ended by taking it back.
    try disks.takeBack(disk, from: "f/1")
    try expectHere(disk, on: host)
  }

  @Test func whatIsKnownOfItIsReadAsItWasWritten() throws {
    let host = try FakeDriveHost()
    let away = AwayNamespaces(stateDirectory: "\(host.kernel.root)/state")
    let namespace = AwayNamespace(
      function: "nvme/eui.1/7", identity: "eui.1", path: "/dev/disk/by-id/nvme-A B", subsystem: "nqn.a", number: 3,
      index: 2,
      facts: BlockFacts(sizeBytes: 1 << 40, logicalSectorBytes: 512, physicalSectorBytes: 4096, isReadOnly: false))
    #expect(try away.all.isEmpty)
    try away.write(namespace)
    #expect(try away.all == [namespace])
    try away.remove("eui.1")
    #expect(try away.all.isEmpty)
  }
}
