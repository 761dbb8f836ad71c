/// What queues and interrupts a primary controller has to give away (base specification 2.0, figure 285).
public struct NVMePrimaryCapabilities: Sendable, Hashable {
  public struct Resources: Sendable, Hashable {
    public var isSupported: Bool
    /// How many can be moved about, altogether.
    public var flexible: UInt32
    /// Those given to secondaries.
    public var assigned: UInt32
    /// Those given to the primary itself.
    public var primaryFlexible: UInt16
    /// Those that the primary has and cannot give away.
    public var primaryPrivate: UInt16
    /// The most that one secondary takes.
    public var mostPerSecondary: UInt16
    /// It is best to give multiples of this.
    public var granularity: UInt16

    public var free: UInt32 { flexible - min(flexible, assigned + UInt32(primaryFlexible)) }

    init(_ bytes: AnswerBytes, isSupported: Bool) throws(MalformedAnswer) {
      self.isSupported = isSupported
      flexible = try bytes.littleEndian(0)
      assigned = try bytes.littleEndian(4)
      primaryFlexible = try bytes.littleEndian(8)
      primaryPrivate = try bytes.littleEndian(10)
      mostPerSecondary = try bytes.littleEndian(12)
      granularity = try bytes.littleEndian(14)
      guard assigned <= flexible else {
        throw MalformedAnswer("\(assigned) resources are assigned of \(flexible) that there are")
      }
    }
  }

  public var controller: UInt16
  public var queues: Resources
  public var interrupts: Resources

  public subscript(resource: NVMeResource) -> Resources { resource == .queues ? queues : interrupts }

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    controller = try bytes.littleEndian(0)
    let kinds = try bytes.byte(4)
    queues = try Resources(bytes.part(32, 16), isSupported: kinds & 1 != 0)
    interrupts = try Resources(bytes.part(64, 16), isSupported: kinds & 2 != 0)
  }
}

/// A controller that lives on what a primary gives it: a virtual function.
public struct NVMeSecondary: Sendable, Hashable {
  public var controller: UInt16
  public var primary: UInt16
  public var isOnline: Bool
  /// From 1: the number of the SR-IOV function; nil: it is none.
  public var virtualFunction: UInt16?
  public var queues: UInt16
  public var interrupts: UInt16

  init(_ bytes: AnswerBytes) throws(MalformedAnswer) {
    controller = try bytes.littleEndian(0)
    primary = try bytes.littleEndian(2)
    isOnline = try bytes.bit(0, ofByte: 4)
    let function: UInt16 = try bytes.littleEndian(8)
    virtualFunction = function == 0 ? nil : function
    queues = try bytes.littleEndian(10)
    interrupts = try bytes.littleEndian(12)
  }
}

public enum NVMeResource: UInt32, Sendable, Hashable {
  case queues = 0
  case interrupts = 1
}

/// Virtualization Management (base specification 2.0, 5.28), sent to the primary.
///
/// A secondary takes resources only while it is offline, and comes online with two queues (the admin queue is one) and an
/// interrupt at least. What the primary gives up or gets counts after its next reset.
public struct VirtualizationManagement: NVMeCommand {
  public enum Action: Sendable, Hashable {
    case allocateToPrimary(NVMeResource, UInt16)
    case takeOffline
    case assign(NVMeResource, UInt16)
    case bringOnline
  }

  public let controller: UInt16
  public let action: Action

  /// - Parameter controller: the primary's own identifier where the action is for it, else the secondary's.
  public init(_ action: Action, controller: UInt16) {
    self.action = action
    self.controller = controller
  }

  public var name: String {
    switch action {
    case .allocateToPrimary(let resource, let count): "Virtualization Management, \(count) \(resource) to the primary"
    case .takeOffline: "Virtualization Management, controller \(controller) offline"
    case .assign(let resource, let count): "Virtualization Management, \(count) \(resource) to controller \(controller)"
    case .bringOnline: "Virtualization Management, controller \(controller) online"
    }
  }

  public var request: NVMeRequest {
    let (code, resource, count): (UInt32, NVMeResource, UInt16) =
      switch action {
      case .allocateToPrimary(let resource, let count): (0x1, resource, count)
      case .takeOffline: (0x7, .queues, 0)
      case .assign(let resource, let count): (0x8, resource, count)
      case .bringOnline: (0x9, .queues, 0)
      }
    return NVMeRequest(
      opcode: 0x1c, words: [code | resource.rawValue << 8 | UInt32(controller) << 16, UInt32(count)])
  }

  /// How many resources were given, for those actions that give some: it may be fewer or more than asked.
  public func answer(to answer: NVMeAnswer) throws(MalformedAnswer) -> UInt16 { UInt16(answer.result & 0xffff) }
}

/// Namespace Attachment (base specification 2.0, 5.20).
public struct NamespaceAttachment: NVMeCommand {
  public typealias Answer = Void
  public enum Action: UInt32, Sendable, Hashable {
    case attach = 0
    case detach = 1
  }

  public let action: Action
  public let namespace: UInt32
  public let controllers: [UInt16]

  /// - Parameter controllers: their identifiers; 2047 at most, more are left out.
  public init(_ action: Action, namespace: UInt32, controllers: [UInt16]) {
    self.action = action
    self.namespace = namespace
    self.controllers = Array(controllers.sorted().prefix(2047))
  }

  public var name: String {
    let which = controllers.map { "\($0)" }.joined(separator: ", ")
    return "Namespace Attachment, \(action) \(namespace) \(action == .attach ? "to" : "from") controller \(which)"
  }

  public var request: NVMeRequest {
    NVMeRequest(opcode: 0x15, namespace: namespace, words: [action.rawValue])
  }

  public var data: CommandData {
    var list = [UInt8](repeating: 0, count: 4096)
    list.put(littleEndian: UInt16(controllers.count), at: 0)
    for (index, controller) in controllers.enumerated() { list.put(littleEndian: controller, at: 2 + 2 * index) }
    return .send(list)
  }
}
