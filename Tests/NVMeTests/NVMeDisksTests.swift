import BlockFunctions
import FakeDevices
import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_nvme

@Suite struct NVMeDisksTests {
  private func disks(_ host: FakeDriveHost) -> NVMeDisks {
    NVMeDisks(access: host.access, hostName: "host-a", stateDirectory: "\(host.kernel.root)/state")
  }

  @Test func aNamespaceIsADiskByTheNameThatItHas() throws {
    let host = try FakeDriveHost()
    let disk = try #require(try disks(host).describe(host.path(1)))
    #expect(disk.identity == "eui." + String(repeating: "0", count: 31) + "1")
    #expect(disk.facts.sizeBytes == 1 << 30)
    #expect(disk.facts.logicalSectorBytes == 4096)
    #expect(disk.devices == [host.path(1)])
    #expect(disk.physicalFunction.driver == "nvme")
    #expect(disk.physicalFunction.pciAddress == "0000:03:00.0")
    #expect(disk.physicalFunction.serialNumber == "N1NVME")
    #expect(disk.physicalFunction.firmware == "10.0")
    #expect(disk.physicalFunction.functionCount?.maximum == 4)
    #expect(disk.labels == ["subsystem": "nqn.test:one", "namespace": "1", "controller": "0"])
    #expect(disk.numaNode == 1)
    #expect(disk.health.state == .healthy)
  }

  @Test func whatIsNoNamespaceIsNone() throws {
    let host = try FakeDriveHost()
    #expect(try disks(host).describe("/dev/null") == nil)
    #expect(try disks(host).describe("\(host.devices)/gone") == nil)
  }

  @Test func aDriveWithOnePortIsOneHosts() throws {
    let host = try FakeDriveHost()
    let disk = try #require(try disks(host).describe(host.path(1)))
    #expect(!disk.isMultiRoot)
    #expect(try disks(host).keeper(of: disk) == nil)
  }

  @Test func aDriveThatStopsAnsweringIsKnownAndUnhealthy() throws {
    let host = try FakeDriveHost()
    let failure = NVMeFailure.status(NVMeStatus(type: 0, code: 0x06))
    let mute = try FakeDriveHost { $0.failures = [0x06: [failure]] }
    #expect(throws: NVMeError.self) { try disks(mute).describe(mute.path(1)) }

    let known = disks(host)
    _ = try known.describe(host.path(1))
    host.kernel.put("dead", at: "class/nvme/nvme0/state")
    let disk = try #require(try known.describe(host.path(1)))
    #expect(disk.health.state == .unhealthy)
    #expect(disk.health.message.contains("dead"))
  }

  @Test func aPullBringsAnotherDeviceOfTheSameNamespace() throws {
    let host = try FakeDriveHost()
    let disks = disks(host)
    let disk = try #require(try disks.describe(host.path(1)))
    let again = try disks.pull(disk)
    #expect(again.identity == disk.identity)
    #expect(host.kernel.sysfs.names(in: "block") == ["nvme0n2"])
    #expect(host.drive.namespace(1)?.attached == [0])
  }

  @Test func whatAPullLeftDetachedIsFoundAndAttached() throws {
    let host = try FakeDriveHost()
    let before = disks(host)
    let disk = try #require(try before.describe(host.path(1)))
    // Detached, and then the drive refuses, also when it is asked again.
    let refusal = NVMeFailure.status(NVMeStatus(type: 0, code: 0x06))
    host.drive.adjust { $0.failures = [0x15: [nil, refusal, refusal]] }
    #expect(throws: (any Error).self) { try before.pull(disk) }
    #expect(host.drive.namespace(1)?.attached == [])
    #expect(throws: (any Error).self) { try before.describe(host.path(1)) }

    // By another run of the plugin, too.
    let found = try #require(try disks(host).describe(host.path(1)))
    #expect(found.identity == disk.identity)
    #expect(host.drive.namespace(1)?.attached == [0])
    #expect(SmallFile.names(in: "\(host.kernel.root)/state/pulled") == [])
  }

  @Test func byItsKernelNameTheDeviceIsAnotherAfterwards() throws {
    let host = try FakeDriveHost()
    let disks = disks(host)
    let disk = try #require(try disks.describe("\(host.devices)/nvme0n1"))
    #expect(try disks.pull(disk).device == "\(host.devices)/nvme0n2")
  }

  @Test func aNamespaceErasesItselfAndNoOther() throws {
    let host = try FakeDriveHost(namespaces: [1, 2])
    let disk = try #require(try disks(host).describe(host.path(1)))
    #expect(disk.sanitizes)
    try disks(host).sanitize(disk)
    // The format that it has, with an erasure of user data.
    #expect(host.drive.namespace(1)?.formats == [0x1201])
    #expect(host.drive.namespace(2)?.formats == [])
  }

  @Test func whatWouldEraseOthersIsNotToldTo() throws {
    let host = try FakeDriveHost(namespaces: [1, 2]) { $0.erasesAllNamespaces = true }
    let disk = try #require(try disks(host).describe(host.path(1)))
    #expect(!disk.sanitizes)
    #expect(throws: PluginError.self) { try disks(host).sanitize(disk) }
    #expect(host.drive.namespace(2)?.formats == [])
    let alone = try FakeDriveHost { $0.erasesAllNamespaces = true }
    #expect(try disks(alone).describe(alone.path(1))?.sanitizes == true)
  }

  @Test func healthNamesWhatIsWrong() throws {
    func health(_ warnings: UInt8, _ spare: UInt8) throws -> Health {
      var bytes = [UInt8](repeating: 0, count: 512)
      (bytes[0], bytes[1], bytes[3], bytes[4]) = (warnings, 0, spare, 10)
      return try GetLogPage.health.answer(to: NVMeAnswer(data: bytes)).health
    }
    #expect(try health(0, 100).state == .healthy)
    #expect(try health(1, 5).message.contains("5 %"))
    #expect(try health(0, 5).state == .unhealthy)
    #expect(try health(1 << 1, 100).state == .healthy)
    #expect(try health(1 << 1, 100).message.contains("°C"))
    #expect(try health(1 << 3, 100).message.contains("no writes"))
  }
}
