import CLinux
import FakeDevices
import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Synchronization
import Testing

@testable import BlockFunctions

/// A machine with one spare port, and a guest that lets go of what it is asked to.
private final class TestMachine: Sendable {
  let devices = Mutex<[String: String]>([:])
  let sources = Mutex<Set<String>>([])
  let monitor = Mutex<FakeMonitor?>(nil)

  init() throws {
    let fake = try FakeMonitor { [weak self] command, arguments in self?.answer(command, arguments) }
    monitor.withLock { $0 = fake }
  }

  var socket: String { monitor.withLock { $0?.path ?? "" } }

  private func answer(_ command: String, _ arguments: JSONValue) -> [JSONValue]? {
    let id = arguments["id"]?.string ?? ""
    switch command {
    case "query-pci":
      let port: JSONValue = .object(["qdev_id": .string("rp1"), "pci_bridge": .object(["devices": .array([])])])
      return [FakeMonitor.returned(.array([.object(["devices": .array([port])])]))]
    case "qom-list":
      let names = devices.withLock { $0.keys.map { JSONValue.object(["name": .string($0)]) } }
      return [FakeMonitor.returned(.array(names))]
    case "chardev-add", "blockdev-add":
      let name = arguments["node-name"]?.string ?? id
      return [
        sources.withLock { $0.insert(name).inserted }
          ? FakeMonitor.returned() : FakeMonitor.error("GenericError", "twice")
      ]
    case "chardev-remove", "blockdev-del":
      let name = arguments["node-name"]?.string ?? id
      return [
        sources.withLock { $0.remove(name) } == nil ? FakeMonitor.error("GenericError", "none") : FakeMonitor.returned()
      ]
    case "device_add":
      devices.withLock { $0[id] = arguments["driver"]?.string }
      return [FakeMonitor.returned()]
    case "device_del":
      guard devices.withLock({ $0.removeValue(forKey: id) }) != nil else {
        return [FakeMonitor.error("DeviceNotFound", "no \(id)")]
      }
      return [FakeMonitor.returned(), FakeMonitor.event("DEVICE_DELETED", device: id)]
    default: return nil
    }
  }
}

@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct MachineTests {
  private func forMachine(_ request: FunctionRequest, _ socket: String) -> FunctionRequest {
    var request = request
    request.assignment?.consumer = Consumer {
      $0.kind = .virtualMachine(VirtualMachineConsumer { $0.qmpSocket = socket })
    }
    return request
  }

  @Test func aMachineThatIsYetToBeStartedGetsASocket() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = forMachine(try await disk.request(.direct, on: plugin), "")
    _ = try await plugin.create(request)
    let status = try await plugin.attach(request)
    #expect(try await plugin.attach(request) == status)
    #expect(try await disk.plugin(knowing: [request]).observe() == [status])
    let socket = try #require(status.arrival?.vhostUserSocket)
    try await BlockingThread.detached {
      // The daemon takes one machine; that it listens is what a machine needs.
      let connected = iov_unix_connect(socket, 1000)
      #expect(connected >= 0)
      if connected >= 0 { close(connected) }
    }
    _ = try await plugin.fence(request)
    #expect(access(socket, F_OK) != 0)
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }

  @Test func aRunningMachineGetsADiskAndIsCutOff() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let machine = try TestMachine()
    let request = forMachine(try await disk.request(.direct, on: plugin), machine.socket)
    _ = try await plugin.create(request)
    #expect(try await plugin.attach(request).phase == .inUse)
    #expect(machine.devices.withLock { Array($0.values) } == ["vhost-user-blk-pci"])
    #expect(try await disk.plugin(knowing: [request]).observe().map(\.phase) == [.inUse])
    #expect(try await plugin.detach(request).phase == .created)
    #expect(machine.devices.withLock(\.isEmpty) && machine.sources.withLock(\.isEmpty))
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }

  @Test func aMachineOfAnotherHostGetsTheNetworkDisk() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let machine = try TestMachine()
    let server = try await disk.request(.server, on: plugin)
    _ = try await plugin.create(server)
    let port = try await plugin.serve(server).serverPort
    let consumer = forMachine(try await disk.request(.consumer, on: plugin, serverPort: port), machine.socket)
    #expect(try await plugin.connect(consumer).phase == .inUse)
    #expect(machine.devices.withLock { Array($0.values) } == ["virtio-blk-pci"])
    _ = try await plugin.unserve(server)
    #expect(try await plugin.disconnect(consumer).phase == .absent)
    #expect(machine.devices.withLock(\.isEmpty) && machine.sources.withLock(\.isEmpty))
    _ = try await plugin.destroy(server)
    #expect(disk.leftovers() == [])
  }

  @Test func aMachineThatDoesNotAnswerIsNamed() async throws {
    let disk = try TestDisk()
    let plugin = try await disk.plugin()
    let request = forMachine(try await disk.request(.direct, on: plugin), "/nowhere/qmp")
    _ = try await plugin.create(request)
    let refusal = try await #require(throws: PluginError.self) { try await plugin.attach(request) }
    #expect(refusal.message.contains("/nowhere/qmp"))
    #expect(try await plugin.detach(request).phase == .created)
    _ = try await plugin.destroy(request)
    #expect(disk.leftovers() == [])
  }
}
