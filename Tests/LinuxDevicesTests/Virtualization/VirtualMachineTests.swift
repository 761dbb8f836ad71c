import CLinux
import FakeDevices
import Glibc
import Synchronization
import Testing

@testable import LinuxDevices

private let function = PCIAddress(bus: 3, device: 16, function: 2)

/// A machine with some ports, whose guest does with a request to let a device go what it is told to.
private final class FakeMachine: Sendable {
  enum Guest: Sendable { case obeys, refuses, isSilent, obeysUnseen }

  struct State: Sendable {
    var devices: [String: (host: String, port: String)] = [:]
    var guest = Guest.obeys
    var isAsked: Set<String> = []
    var commands: [String] = []
  }

  let state = Mutex(State())

  func answer(_ command: String, _ arguments: JSONValue) -> [JSONValue]? {
    state.withLock { state in
      state.commands.append(command)
      let id = arguments["id"]?.string ?? ""
      switch command {
      case "query-pci": return [FakeMonitor.returned(buses(state))]
      case "qom-list":
        return [FakeMonitor.returned(.array(state.devices.keys.map { .object(["name": .string($0)]) }))]
      case "qom-get":
        let name = arguments["path"]?.string?.split(separator: "/").last.map(String.init) ?? ""
        return [FakeMonitor.returned(.string(state.devices[name]?.host ?? ""))]
      case "device_add":
        let port = arguments["bus"]?.string ?? ""
        if state.devices.values.contains(where: { $0.port == port }) {
          return [FakeMonitor.error("GenericError", "slot 0 function 0 not available")]
        }
        state.devices[id] = (arguments["host"]?.string ?? "", port)
        return [FakeMonitor.returned()]
      case "device_del": return delete(id, &state)
      default: return nil
      }
    }
  }

  private func delete(_ id: String, _ state: inout State) -> [JSONValue] {
    guard state.devices[id] != nil else { return [FakeMonitor.error("DeviceNotFound", "Device '\(id)' not found")] }
    if !state.isAsked.insert(id).inserted && state.guest != .obeys {
      return [FakeMonitor.error("GenericError", "Device \(id) is already in the process of unplug")]
    }
    switch state.guest {
    case .obeys:
      state.devices[id] = nil
      // Others' devices go as well, and the event may come before the answer.
      return [
        FakeMonitor.event("DEVICE_DELETED", device: "other"), FakeMonitor.event("DEVICE_DELETED", device: id),
        FakeMonitor.returned(),
      ]
    case .refuses: return [FakeMonitor.returned(), FakeMonitor.event("DEVICE_UNPLUG_GUEST_ERROR", device: id)]
    case .isSilent: return [FakeMonitor.returned()]
    case .obeysUnseen:
      state.devices[id] = nil
      return [FakeMonitor.returned()]
    }
  }

  private func buses(_ state: State) -> JSONValue {
    let ports = ["rp2", "rp1"].map { name -> JSONValue in
      let below = state.devices.values.filter { $0.port == name }.map { _ in JSONValue.object(["qdev_id": .string("x")])
      }
      return .object(["qdev_id": .string(name), "pci_bridge": .object(["devices": .array(below)])])
    }
    return .array([.object(["bus": .integer(0), "devices": .array(ports + [.object(["qdev_id": .string("nic")])])])])
  }
}

@Suite struct VirtualMachineTests {
  private let machine = FakeMachine()
  private let monitor: FakeMonitor

  init() throws {
    let machine = machine
    monitor = try FakeMonitor { machine.answer($0, $1) }
  }

  private func connect() throws -> VirtualMachine {
    VirtualMachine(monitor: try QMPConnection(path: monitor.path, timeoutMilliseconds: 5000))
  }

  @Test func aFunctionIsPluggedIntoASparePortAndUnplugged() throws {
    var vm = try connect()
    #expect(try vm.sparePorts() == ["rp1", "rp2"])
    try vm.plug(function, as: "iov-1", into: "rp1")
    try vm.plug(function, as: "iov-1", into: "rp1")
    #expect(try vm.sparePorts() == ["rp2"])
    #expect(machine.state.withLock { $0.commands.filter { $0 == "device_add" }.count } == 1)
    try vm.unplug("iov-1")
    #expect(try !vm.has("iov-1"))
    // Gone is gone, however often it is asked.
    try vm.unplug("iov-1")
  }

  @Test func anotherFunctionUnderTheSameNameIsFoundOut() throws {
    machine.state.withLock { $0.devices["iov-1"] = ("0000:03:10.0", "rp1") }
    var vm = try connect()
    #expect(throws: HotPlugError.otherFunction(id: "iov-1", wanted: function, found: "0000:03:10.0")) {
      try vm.plug(function, as: "iov-1", into: "rp2")
    }
  }

  @Test func aPortThatIsTakenIsRefusedInTheMachinesWords() throws {
    machine.state.withLock { $0.devices["iov-1"] = ("0000:03:10.0", "rp1") }
    var vm = try connect()
    let error = #expect(throws: QMPError.self) { try vm.plug(function, as: "iov-2", into: "rp1") }
    #expect(error?.description == "device_add: slot 0 function 0 not available")
  }

  @Test func aGuestThatRefusesKeepsItsDevice() throws {
    machine.state.withLock { $0.guest = .refuses }
    var vm = try connect()
    try vm.plug(function, as: "iov-1", into: "rp1")
    #expect(throws: HotPlugError.guestRefused(id: "iov-1")) { try vm.unplug("iov-1") }
    #expect(try vm.has("iov-1"))
  }

  @Test func aGuestThatSaysNothingIsAskedAgainUntilItObeys() throws {
    machine.state.withLock { $0.guest = .isSilent }
    var vm = try connect()
    try vm.plug(function, as: "iov-1", into: "rp1")
    let silent = HotPlugError.guestSilent(id: "iov-1", patience: .milliseconds(20))
    for _ in 0..<2 { #expect(throws: silent) { try vm.unplug("iov-1", patience: .milliseconds(20)) } }
    machine.state.withLock { $0.guest = .obeys }
    try vm.unplug("iov-1")
  }

  @Test func anEventThatWentElsewhereIsMadeUpForByLooking() throws {
    machine.state.withLock { $0.guest = .obeysUnseen }
    var vm = try connect()
    try vm.plug(function, as: "iov-1", into: "rp1")
    try vm.unplug("iov-1", patience: .milliseconds(20))
  }

  @Test func aFunctionIsDescribedToLibvirt() {
    #expect(
      function.libvirtElement.contains("<address domain='0x0000' bus='0x03' slot='0x10' function='0x2'/>"))
  }
}

@Suite struct QMPConnectionTests {
  @Test func whatIsNoMonitorIsToldSo() throws {
    for (greeting, error) in [("{}", QMPError.noMonitor), ("SSH-2.0", QMPError.notJSON)] {
      let monitor = try FakeMonitor(greeting: greeting) { _, _ in nil }
      #expect(throws: error(monitor.path)) { try QMPConnection(path: monitor.path, timeoutMilliseconds: 5000) }
    }
    #expect(throws: SystemCallError.self) { try QMPConnection(path: "/nowhere", timeoutMilliseconds: 10) }
  }

  @Test func aProgramThatEndsInTheMiddleIsToldSo() throws {
    let monitor = try FakeMonitor { _, _ in nil }
    var connection = try QMPConnection(path: monitor.path, timeoutMilliseconds: 5000)
    #expect(throws: QMPError.ended(monitor.path, waitingFor: "query-pci")) { try connection.execute("query-pci") }
  }

  @Test func anAnswerThatDoesNotComeIsNotWaitedForForever() throws {
    // Events in between do not make the wait longer.
    let monitor = try FakeMonitor { _, _ in (0..<50).map { FakeMonitor.event("NIC_RX_FILTER_CHANGED", device: "\($0)") }
    }
    var connection = try QMPConnection(path: monitor.path, timeoutMilliseconds: 50)
    #expect(throws: QMPError.late(monitor.path, waitingFor: "query-pci")) { try connection.execute("query-pci") }
  }

  @Test func aLineWithoutAnEndIsNotTakenInWhole() throws {
    let text = String(repeating: "x", count: 2 << 20)
    let monitor = try FakeMonitor { _, _ in [.string(text)] }
    var connection = try QMPConnection(path: monitor.path, timeoutMilliseconds: 5000)
    #expect(throws: QMPError.endlessLine(monitor.path)) { try connection.execute("query-pci") }
  }

  @Test func anEventIsFoundWhetherItCameBeforeTheAnswerOrAfter() throws {
    let monitor = try FakeMonitor { command, _ in
      let event = FakeMonitor.event("STOP", device: command)
      return command == "before" ? [event, FakeMonitor.returned()] : [FakeMonitor.returned(), event]
    }
    var connection = try QMPConnection(path: monitor.path, timeoutMilliseconds: 5000)
    for command in ["before", "after"] {
      try connection.execute(command)
      #expect(try connection.waitForEvent("STOP")["data"]?["device"]?.string == command)
    }
  }

  @Test(.enabled(if: ChildProcess.path(of: "qemu-storage-daemon") != nil, "needs qemu-storage-daemon"))
  func aRealDaemonTalksAndTellsOfItsEvents() async throws {
    var template = Array("/tmp/iov-qmp-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      for name in ["qmp", "nbd", "pid"] { unlink("\(directory)/\(name)") }
      rmdir(directory)
    }
    let path = "\(directory)/qmp"
    let listener = FileDescriptor(owning: try checked(iov_unix_listen(path), "listen"))
    let daemon = try ChildProcess.spawn(
      executable: "qemu-storage-daemon",
      arguments: [
        "--pidfile", "\(directory)/pid", "--chardev", "socket,id=qmp,fd=\(listener.number),server=on,wait=off",
        "--monitor", "chardev=qmp",
      ],
      inheriting: [listener.number])
    // Also when something below fails. To one that has ended it does nothing.
    defer { try? daemon.kill(SIGKILL) }
    // Whom it finds connected when it starts it may greet and never hear (QEMU 7.2).
    while SmallFile.text("\(directory)/pid") == nil { try await Task.sleep(for: .milliseconds(5)) }
    do {
      var connection = try QMPConnection(path: path, timeoutMilliseconds: 60_000)
      let refusal = #expect(throws: QMPError.self) { try connection.execute("device_del", ["id": .string("x")]) }
      guard case .refused(command: "device_del", errorClass: "CommandNotFound", _)? = refusal else {
        Issue.record("\(String(describing: refusal))")
        return
      }
      let node: [String: JSONValue] = [
        "driver": .string("null-co"), "node-name": .string("disk"), "read-zeroes": .bool(true),
      ]
      try connection.execute("blockdev-add", node)
      let address: JSONValue = .object([
        "type": .string("unix"), "data": .object(["path": .string("\(directory)/nbd")]),
      ])
      try connection.execute("nbd-server-start", ["addr": address])
      try connection.execute(
        "block-export-add", ["type": .string("nbd"), "id": .string("e"), "node-name": .string("disk")])
      try connection.execute("block-export-del", ["id": .string("e")])
      #expect(try connection.waitForEvent("BLOCK_EXPORT_DELETED")["data"]?["id"]?.string == "e")
    }
    try daemon.kill(SIGTERM)
    try await daemon.waitUntilExit()
  }
}
