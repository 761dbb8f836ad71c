/// A way by which commands reach one NVMe controller, or one namespace. Calls block.
public protocol NVMeTransport: Sendable {
  /// What errors call it: "/dev/nvme0".
  var name: String { get }

  /// Sends one command and waits for its end, once.
  func execute(
    _ request: NVMeRequest, _ data: CommandData, timeout: Duration
  ) throws(NVMeFailure) -> NVMeAnswer
}

/// A command as its words are numbered in the NVM Express base specification.
public struct NVMeRequest: Sendable, Hashable {
  public enum Queue: Sendable, Hashable { case admin, readsAndWrites }

  public var queue: Queue
  public var opcode: UInt8
  public var namespace: UInt32
  /// 10 to 15.
  public var words: [UInt32]

  public init(_ queue: Queue = .admin, opcode: UInt8, namespace: UInt32 = 0, words: [UInt32] = []) {
    self.queue = queue
    self.opcode = opcode
    self.namespace = namespace
    self.words = Array((words + [0, 0, 0, 0, 0, 0]).prefix(6))
  }
}

public struct NVMeAnswer: Sendable, Hashable {
  /// Word 0 of the completion.
  public var result: UInt32
  public var data: [UInt8]

  public init(result: UInt32 = 0, data: [UInt8] = []) {
    self.result = result
    self.data = data
  }
}

/// How a command ended that did not do what was asked.
public enum NVMeFailure: Error, Hashable {
  case status(NVMeStatus)
  /// The kernel did not take it, or the controller is gone; EINTR: nobody answered in time and the controller was reset.
  case system(SystemCallError)
  case malformed(MalformedAnswer)

  public var status: NVMeStatus? { if case .status(let status) = self { status } else { nil } }
}

/// What a controller says of a command (base specification 2.0, 3.3.3.2).
public struct NVMeStatus: Sendable, Hashable {
  /// 0: generic; 1: of the command; 2: of the medium; 3: of the path.
  public var type: UInt8
  public var code: UInt8
  /// The same command will fail again.
  public var doNotRetry: Bool

  public init(type: UInt8, code: UInt8, doNotRetry: Bool = false) {
    self.type = type
    self.code = code
    self.doNotRetry = doNotRetry
  }

  /// As the kernel has it: the code in bits 0 to 7, the type in 8 to 10, "do not retry" in 14.
  public init(kernel status: UInt32) {
    self.init(
      type: UInt8(status >> 8 & 0x7), code: UInt8(status & 0xff), doNotRetry: status & 0x4000 != 0)
  }

  public static func == (left: Self, right: Self) -> Bool { left.type == right.type && left.code == right.code }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(type)
    hasher.combine(code)
  }

  public static let invalidOpcode = Self(type: 0, code: 0x01)
  public static let invalidField = Self(type: 0, code: 0x02)
  public static let invalidNamespaceOrFormat = Self(type: 0, code: 0x0b)
  public static let sanitizeFailed = Self(type: 0, code: 0x1c)
  public static let sanitizeInProgress = Self(type: 0, code: 0x1d)
  public static let reservationConflict = Self(type: 0, code: 0x83)
  public static let formatInProgress = Self(type: 0, code: 0x84)
  public static let namespaceAlreadyAttached = Self(type: 1, code: 0x18)
  public static let namespaceIsPrivate = Self(type: 1, code: 0x19)
  public static let namespaceNotAttached = Self(type: 1, code: 0x1a)
  public static let controllerListInvalid = Self(type: 1, code: 0x1c)
  public static let invalidControllerIdentifier = Self(type: 1, code: 0x1f)
  public static let invalidSecondaryState = Self(type: 1, code: 0x20)
  public static let invalidResourceCount = Self(type: 1, code: 0x21)
  public static let invalidResourceIdentifier = Self(type: 1, code: 0x22)

  /// Whether the controller does not know the command, or not with these fields.
  public var isUnsupported: Bool { self == .invalidOpcode || self == .invalidField }
}

/// A command that failed, and on what.
public struct NVMeError: Error, Hashable {
  /// "Identify Controller"
  public var command: String
  public var device: String
  public var failure: NVMeFailure

  public init(_ command: String, device: String, _ failure: NVMeFailure) {
    self.command = command
    self.device = device
    self.failure = failure
  }
}

extension NVMeError: CustomStringConvertible {
  public var description: String {
    switch failure {
    case .status(let status): "\(command) on \(device): \(status)"
    // The error names the device itself.
    case .system(let error): "\(command): \(error)"
    case .malformed(let error): "\(command) on \(device): the answer makes no sense: \(error)"
    }
  }
}

extension NVMeStatus: CustomStringConvertible {
  /// "reservation conflict (status 0/83)"
  public var description: String {
    let numbers = "status \(type)/\(hexadecimal(code, digits: 2))"
    return Self.meanings[self].map { "\($0) (\(numbers))" } ?? numbers
  }

  private static let meanings: [NVMeStatus: String] = [
    .invalidOpcode: "the controller does not know the command",
    .invalidField: "invalid field in the command",
    .invalidNamespaceOrFormat: "there is no such namespace here",
    .sanitizeFailed: "the last sanitize failed; sanitize again",
    .sanitizeInProgress: "a sanitize is in progress",
    .reservationConflict: "reservation conflict",
    .formatInProgress: "a format is in progress",
    .namespaceAlreadyAttached: "the namespace is attached already",
    .namespaceIsPrivate: "the namespace is private, and attached to another controller",
    .namespaceNotAttached: "the namespace is not attached",
    .controllerListInvalid: "the list of controllers names one that is not there",
    .invalidControllerIdentifier: "there is no such controller",
    .invalidSecondaryState:
      "the controller is not in the state that this takes; take it offline first, or give it resources",
    .invalidResourceCount: "so many resources are not to be had",
    .invalidResourceIdentifier: "there is no such kind of resource",
  ]
}
