import LinuxDevices
import Synchronization

/// An NVMe drive in memory with a primary controller, secondaries that live on what it gives them, and namespaces that are
/// attached to any of them: it does what the specification says, and fails as it is told to.
public final class FakeNVMeDrive: Sendable {
  public struct Behaviour: Sendable {
    public var knowsReservations = true
    public var types: Set<ReservationType> = Set(ReservationType.allCases)
    public var canPersist = true
    /// Answers to the next commands with an opcode; a nil lets one pass.
    public var failures: [UInt8: [NVMeFailure?]] = [:]
    public var sanitizeStatus: UInt16 = 0
    public var sanitizeProgress: UInt16 = 0
    /// An erasure of one namespace is one of all.
    public var erasesAllNamespaces = false
    public init() {}
  }

  public struct Namespace: Sendable {
    public var blocks: UInt64 = 1 << 18
    public var nguid = [UInt8](repeating: 0, count: 16)
    public var eui64 = [UInt8](repeating: 0, count: 8)
    public var uuid = [UInt8](repeating: 0, count: 16)
    public var isShared = true
    public var attached: Set<UInt16> = []
    public var reservations = FakeReservations()
    /// Word 10 of each Format.
    public var formats: [UInt32] = []
    public init() {}
  }

  public struct Secondary: Sendable {
    public var queues: UInt16 = 0
    public var interrupts: UInt16 = 0
    public var isOnline = false
  }

  struct Drive {
    var behaviour = Behaviour()
    var namespaces: [UInt32: Namespace] = [:]
    /// By identifiers from 1; the primary is 0.
    var secondaries: [UInt16: Secondary] = [:]
    var flexible: (queues: UInt16, interrupts: UInt16)
    var primary: (queues: UInt16, interrupts: UInt16)
    var afterReset: (queues: UInt16, interrupts: UInt16)?
  }

  let drive: Mutex<Drive>

  /// The primary has all flexible resources to begin with, as drives do.
  public init(
    secondaries: UInt16 = 4, queues: UInt16 = 8, interrupts: UInt16 = 4, _ adjust: (inout Behaviour) -> Void = { _ in }
  ) {
    var drive = Drive(flexible: (queues, interrupts), primary: (queues, interrupts))
    for number in 0..<secondaries { drive.secondaries[number + 1] = Secondary() }
    adjust(&drive.behaviour)
    self.drive = Mutex(drive)
  }

  public func addNamespace(_ number: UInt32, _ adjust: (inout Namespace) -> Void = { _ in }) {
    drive.withLock { drive in
      var namespace = Namespace()
      namespace.nguid[15] = UInt8(truncatingIfNeeded: number)
      adjust(&namespace)
      drive.namespaces[number] = namespace
    }
  }

  public func adjust(_ change: (inout Behaviour) -> Void) { drive.withLock { change(&$0.behaviour) } }
  public func namespace(_ number: UInt32) -> Namespace? { drive.withLock { $0.namespaces[number] } }
  public func secondary(_ number: UInt16) -> Secondary? { drive.withLock { $0.secondaries[number] } }

  /// What the primary gave up or asked for counts from here.
  public func resetPrimary() {
    drive.withLock { drive in
      if let new = drive.afterReset { drive.primary = new }
      drive.afterReset = nil
    }
  }

  /// A controller, as a host with an identifier uses it.
  public func controller(_ identifier: UInt16 = 0, host: String = "host") -> Controller {
    Controller(drive: self, identifier: identifier, host: host)
  }

  public struct Controller: NVMeTransport {
    let drive: FakeNVMeDrive
    let identifier: UInt16
    let host: String
    public var name: String { "/dev/nvme\(identifier)" }

    public func execute(
      _ request: NVMeRequest, _ data: CommandData, timeout: Duration
    ) throws(NVMeFailure) -> NVMeAnswer {
      let result = drive.drive.withLock { drive in
        Result { () throws(NVMeFailure) in try drive.answer(request, data, controller: identifier, host: host) }
      }
      return try result.get()
    }

    public func write(to namespace: UInt32) throws(NVMeError) { try send(Move(write: true, namespace: namespace)) }
    public func read(from namespace: UInt32) throws(NVMeError) { try send(Move(write: false, namespace: namespace)) }
  }
}

private struct Move: NVMeCommand {
  typealias Answer = Void
  var write: Bool
  var namespace: UInt32
  var name: String { write ? "Write" : "Read" }
  var request: NVMeRequest { NVMeRequest(.readsAndWrites, opcode: write ? 0x01 : 0x02, namespace: namespace) }
}

extension FakeNVMeDrive.Drive {
  mutating func answer(
    _ request: NVMeRequest, _ data: CommandData, controller: UInt16, host: String
  ) throws(NVMeFailure) -> NVMeAnswer {
    if let failures = behaviour.failures[request.opcode], let next = failures.first {
      behaviour.failures[request.opcode] = Array(failures.dropFirst())
      if let failure = next { throw failure }
    }
    let sent: [UInt8] = if case .send(let bytes) = data { bytes } else { [] }
    var answer = NVMeAnswer()
    switch (request.queue, request.opcode) {
    case (.admin, 0x06): answer.data = try identify(request, controller)
    case (.admin, 0x02): answer.data = try log(request)
    case (.admin, 0x15): try attach(request, sent)
    case (.admin, 0x80): try format(request)
    case (.admin, 0x1c): answer.result = UInt32(try manage(request))
    case (.readsAndWrites, 0x0d), (.readsAndWrites, 0x11), (.readsAndWrites, 0x15):
      guard behaviour.knowsReservations else { throw .status(.invalidOpcode) }
      try reserve(request, sent, host)
    case (.readsAndWrites, 0x0e):
      guard behaviour.knowsReservations else { throw .status(.invalidOpcode) }
      answer.data = try report(request)
    case (.readsAndWrites, 0x01), (.readsAndWrites, 0x02):
      guard try existing(request.namespace).reservations.admits(host, writing: request.opcode == 1) else {
        throw .status(.reservationConflict)
      }
    default: throw .status(.invalidOpcode)
    }
    if case .receive(let most) = data {
      answer.data = Array((answer.data + [UInt8](repeating: 0, count: most)).prefix(most))
    }
    return answer
  }

  private func existing(_ number: UInt32) throws(NVMeFailure) -> FakeNVMeDrive.Namespace {
    guard let namespace = namespaces[number] else { throw .status(.invalidNamespaceOrFormat) }
    return namespace
  }

  // MARK: Identify and logs

  private func identify(_ request: NVMeRequest, _ controller: UInt16) throws(NVMeFailure) -> [UInt8] {
    let from = UInt16(request.words[0] >> 16)
    switch request.words[0] & 0xff {
    case 0x00:
      let namespace = try existing(request.namespace)
      return namespace.attached.contains(controller) ? describe(namespace) : []
    case 0x01: return describe(controller)
    case 0x02:
      return list(namespaces.filter { $0.value.attached.contains(controller) && $0.key > request.namespace }.keys)
    case 0x03: return names(try existing(request.namespace))
    case 0x10: return list(namespaces.keys.filter { $0 > request.namespace })
    case 0x11: return describe(try existing(request.namespace))
    case 0x12: return list(try existing(request.namespace).attached.filter { $0 >= from })
    case 0x13: return list(([0] + secondaries.keys).filter { $0 >= from })
    case 0x14: return capabilities()
    case 0x15: return secondaryList(secondaries.filter { $0.key >= from })
    default: throw .status(.invalidField)
    }
  }

  private func describe(_ controller: UInt16) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    bytes.set("N1NVME", at: 4, padded: 20)
    bytes.set("QEMU NVMe Ctrl", at: 24, padded: 40)
    bytes.set("10.0", at: 64, padded: 8)
    bytes[76] = controller == 0 ? 0x2 : 0x6
    bytes.set(controller, at: 78)
    bytes.set(UInt32(0x0001_0400), at: 80)
    bytes.set(UInt16(1 << 1 | 1 << 3 | 1 << 7), at: 256)
    bytes.set(UInt16(343), at: 266)
    bytes.set(UInt32(0x3), at: 328)
    bytes.set(UInt32(256), at: 516)
    bytes.set(UInt16(1 << 2 | 1 << 3 | (behaviour.knowsReservations ? 1 << 5 : 0)), at: 520)
    bytes[524] = behaviour.erasesAllNamespaces ? 0x2 : 0
    bytes[525] = 1
    bytes.set("nqn.2019-08.org.qemu:rack1", at: 768, padded: 0)
    return bytes
  }

  private func describe(_ namespace: FakeNVMeDrive.Namespace) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    for offset in [0, 8, 16] { bytes.set(namespace.blocks, at: offset) }
    bytes[24] = 1
    bytes[26] = 0x21
    bytes[30] = namespace.isShared ? 1 : 0
    if behaviour.knowsReservations {
      bytes[31] = behaviour.types.reduce(behaviour.canPersist ? 1 : 0) { $0 | 1 << $1.nvmeCode }
    }
    bytes[33] = 1
    bytes.replaceSubrange(104..<120, with: namespace.nguid)
    bytes.replaceSubrange(120..<128, with: namespace.eui64)
    // The format in use is number 17: bit 5 of the selection is the upper one.
    bytes.set(UInt32(12 << 16), at: 128 + 4 * 17)
    return bytes
  }

  private func names(_ namespace: FakeNVMeDrive.Namespace) -> [UInt8] {
    [(1, namespace.eui64), (2, namespace.nguid), (3, namespace.uuid)].flatMap { (type: UInt8, value: [UInt8]) in
      value.contains { $0 != 0 } ? [type, UInt8(value.count), 0, 0] + value : []
    }
  }

  private func list(_ numbers: some Sequence<UInt32>) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    for (index, number) in numbers.sorted().prefix(1024).enumerated() { bytes.set(number, at: 4 * index) }
    return bytes
  }

  private func list(_ controllers: some Sequence<UInt16>) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let sorted = controllers.sorted().prefix(2047)
    bytes.set(UInt16(sorted.count), at: 0)
    for (index, controller) in sorted.enumerated() { bytes.set(controller, at: 2 + 2 * index) }
    return bytes
  }

  private func log(_ request: NVMeRequest) throws(NVMeFailure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 512)
    switch request.words[0] & 0xff {
    case 0x02:
      bytes.set(UInt16(323), at: 1)
      (bytes[3], bytes[4], bytes[5]) = (100, 10, 3)
      bytes.set(UInt64(1000), at: 32)
      bytes.set(UInt64(7), at: 160)
    case 0x81:
      bytes.set(behaviour.sanitizeProgress, at: 0)
      bytes.set(behaviour.sanitizeStatus, at: 2)
    default: throw .status(NVMeStatus(type: 1, code: 0x09))
    }
    return bytes
  }

  // MARK: Namespaces and resources

  private mutating func attach(_ request: NVMeRequest, _ sent: [UInt8]) throws(NVMeFailure) {
    var namespace = try existing(request.namespace)
    let list = AnswerBytes(sent)
    guard let count: UInt16 = try? list.littleEndian(0) else { throw .status(.controllerListInvalid) }
    for index in 0..<Int(count) {
      guard let controller: UInt16 = try? list.littleEndian(2 + 2 * index),
        controller == 0 || secondaries[controller] != nil
      else { throw .status(.controllerListInvalid) }
      let isAttached = namespace.attached.contains(controller)
      if request.words[0] & 0xf == 0 {
        if isAttached { throw .status(.namespaceAlreadyAttached) }
        if !namespace.isShared, !namespace.attached.isEmpty { throw .status(.namespaceIsPrivate) }
        namespace.attached.insert(controller)
      } else {
        guard isAttached else { throw .status(.namespaceNotAttached) }
        namespace.attached.remove(controller)
      }
    }
    namespaces[request.namespace] = namespace
  }

  private mutating func format(_ request: NVMeRequest) throws(NVMeFailure) {
    _ = try existing(request.namespace)
    // Number 17 is the one that it has.
    guard request.words[0] & 0x300f == 0x1001 else { throw .status(.invalidNamespaceOrFormat) }
    for number in namespaces.keys where number == request.namespace || behaviour.erasesAllNamespaces {
      namespaces[number]?.formats.append(request.words[0])
    }
  }

  private var assigned: (queues: UInt16, interrupts: UInt16) {
    secondaries.values.reduce((0, 0)) { ($0.0 + $1.queues, $0.1 + $1.interrupts) }
  }

  private mutating func manage(_ request: NVMeRequest) throws(NVMeFailure) -> UInt16 {
    let (action, kind) = (request.words[0] & 0xf, request.words[0] >> 8 & 0x7)
    let (number, count) = (UInt16(request.words[0] >> 16), UInt16(request.words[1] & 0xffff))
    guard kind <= 1 else { throw .status(.invalidResourceIdentifier) }
    if action == 0x1 {
      guard number == 0 else { throw .status(.invalidControllerIdentifier) }
      var new = afterReset ?? primary
      if kind == 0 { new.queues = count } else { new.interrupts = count }
      guard new.queues + assigned.queues <= flexible.queues, new.interrupts + assigned.interrupts <= flexible.interrupts
      else { throw .status(.invalidResourceCount) }
      afterReset = new
      return count
    }
    guard var secondary = secondaries[number] else { throw .status(.invalidControllerIdentifier) }
    switch action {
    case 0x7: secondary.isOnline = false
    case 0x8:
      guard !secondary.isOnline else { throw .status(.invalidSecondaryState) }
      let free =
        kind == 0
        ? flexible.queues - primary.queues - assigned.queues + secondary.queues
        : flexible.interrupts - primary.interrupts - assigned.interrupts + secondary.interrupts
      guard count <= free else { throw .status(.invalidResourceCount) }
      if kind == 0 { secondary.queues = count } else { secondary.interrupts = count }
    case 0x9:
      guard secondary.queues >= 2, secondary.interrupts >= 1 else { throw .status(.invalidSecondaryState) }
      secondary.isOnline = true
    default: throw .status(.invalidField)
    }
    secondaries[number] = secondary
    return action == 0x8 ? count : 0
  }

  private func capabilities() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    bytes[4] = 3
    for (offset, total, given, own) in [
      (32, flexible.queues, assigned.queues, primary.queues),
      (64, flexible.interrupts, assigned.interrupts, primary.interrupts),
    ] {
      bytes.set(UInt32(total), at: offset)
      bytes.set(UInt32(given), at: offset + 4)
      bytes.set(own, at: offset + 8)
      bytes.set(UInt16(2), at: offset + 10)
      bytes.set(total, at: offset + 12)
      bytes.set(UInt16(1), at: offset + 14)
    }
    return bytes
  }

  private func secondaryList(_ secondaries: [UInt16: FakeNVMeDrive.Secondary]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let sorted = secondaries.sorted { $0.key < $1.key }.prefix(127)
    bytes[0] = UInt8(sorted.count)
    for (index, entry) in sorted.enumerated() {
      let offset = 32 + 32 * index
      bytes.set(entry.key, at: offset)
      bytes[offset + 4] = entry.value.isOnline ? 1 : 0
      bytes.set(entry.key, at: offset + 8)
      bytes.set(entry.value.queues, at: offset + 10)
      bytes.set(entry.value.interrupts, at: offset + 12)
    }
    return bytes
  }

  // MARK: Reservations

  private mutating func reserve(_ request: NVMeRequest, _ sent: [UInt8], _ host: String) throws(NVMeFailure) {
    var namespace = try existing(request.namespace)
    let keys = AnswerBytes(sent)
    let word = request.words[0]
    guard let key: UInt64 = try? keys.littleEndian(0) else { throw .status(.invalidField) }
    let other: UInt64 = (try? keys.littleEndian(8)) ?? 0
    let type = ReservationType(nvmeCode: UInt8(word >> 8 & 0xff))
    let persists = word >> 30 == 3
    do throws(FakeReservations.Refusal) {
      switch (request.opcode, word & 0x7, type) {
      case (0x0d, 0, _):
        let own = namespace.reservations.key(of: host)
        try namespace.reservations.register(
          host, existing: own == other ? other : 0, new: other, persists: persists, room: 64)
      case (0x0d, 1, _):
        try namespace.reservations.register(
          host, existing: key, new: 0, persists: namespace.reservations.persists, room: 64)
      case (0x0d, 2, _) where word & 1 << 3 != 0:
        try namespace.reservations.register(host, existing: nil, new: other, persists: persists, room: 64)
      case (0x11, 0, let type?): try namespace.reservations.reserve(host, key, type)
      case (0x11, 1, let type?), (0x11, 2, let type?):
        try namespace.reservations.preempt(host, key, victim: other, type)
      case (0x15, 0, let type?): try namespace.reservations.release(host, key, type)
      case (0x15, 1, _): try namespace.reservations.clear(host, key)
      default: throw .invalidParameter
      }
    } catch {
      throw .status(error == .conflict ? .reservationConflict : .invalidField)
    }
    namespaces[request.namespace] = namespace
  }

  private func report(_ request: NVMeRequest) throws(NVMeFailure) -> [UInt8] {
    let reservations = try existing(request.namespace).reservations
    // Without the bit for long identifiers the entries have another form, which nothing here asks for.
    guard request.words[1] & 1 != 0 else { throw .status(.invalidField) }
    var bytes = [UInt8](repeating: 0, count: 64 + 64 * reservations.registrations.count)
    bytes.set(reservations.generation, at: 0)
    bytes[4] = reservations.type?.nvmeCode ?? 0
    bytes.set(UInt16(reservations.registrations.count), at: 5)
    bytes[9] = reservations.persists ? 1 : 0
    for (index, registration) in reservations.registrations.enumerated() {
      let offset = 64 + 64 * index
      bytes[offset + 2] = reservations.isHolder(registration.nexus) ? 1 : 0
      bytes.set(registration.key, at: offset + 8)
      bytes.set(registration.nexus, at: offset + 16, padded: 0)
    }
    return bytes
  }
}

extension Array where Element == UInt8 {
  fileprivate mutating func set<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value, at offset: Int) {
    for index in 0..<(Value.bitWidth / 8) {
      self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * Value(index)))
    }
  }

  fileprivate mutating func set(_ text: String, at offset: Int, padded length: Int) {
    for index in 0..<length { self[offset + index] = 0x20 }
    for (index, byte) in text.utf8.enumerated() { self[offset + index] = byte }
  }
}
