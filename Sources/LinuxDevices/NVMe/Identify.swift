/// Identify, by what is asked for (base specification 2.0, 5.17).
public struct Identify<Answer>: NVMeCommand {
  public let name: String
  public let request: NVMeRequest
  private let decode: @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer

  public var data: CommandData { .receive(atMost: 4096) }

  public func answer(to answer: NVMeAnswer) throws(MalformedAnswer) -> Answer { try decode(AnswerBytes(answer.data)) }

  fileprivate init(
    _ what: String, _ structure: UInt8, namespace: UInt32 = 0, controller: UInt16 = 0,
    _ decode: @escaping @Sendable (AnswerBytes) throws(MalformedAnswer) -> Answer
  ) {
    name = "Identify \(what)"
    request = NVMeRequest(
      opcode: 0x06, namespace: namespace, words: [UInt32(structure) | UInt32(controller) << 16])
    self.decode = decode
  }
}

extension Identify where Answer == NVMeControllerData {
  /// The controller that is asked.
  public static var controller: Self {
    Self("Controller", 0x01) { bytes throws(MalformedAnswer) in try NVMeControllerData(bytes) }
  }
}

extension Identify where Answer == NVMeNamespaceData {
  /// Of one that is attached to the controller asked: zeros, which is an error here, if it is not.
  public static func namespace(_ namespace: UInt32) -> Self {
    Self("Namespace", 0x00, namespace: namespace) { bytes throws(MalformedAnswer) in try NVMeNamespaceData(bytes) }
  }

  /// Of one that exists, attached or not.
  public static func allocatedNamespace(_ namespace: UInt32) -> Self {
    Self("Allocated Namespace", 0x11, namespace: namespace) { bytes throws(MalformedAnswer) in
      try NVMeNamespaceData(bytes)
    }
  }
}

extension Identify where Answer == NVMeNamespaceNames {
  public static func names(ofNamespace namespace: UInt32) -> Self {
    Self("Namespace Identification Descriptors", 0x03, namespace: namespace) { bytes throws(MalformedAnswer) in
      try NVMeNamespaceNames(descriptors: bytes)
    }
  }
}

extension Identify where Answer == [UInt32] {
  /// Those attached to the controller asked, above a number; 1024 at most.
  public static func activeNamespaces(above namespace: UInt32 = 0) -> Self {
    Self("Active Namespace List", 0x02, namespace: namespace) { bytes throws(MalformedAnswer) in try list(bytes) }
  }

  /// Those that exist.
  public static func allocatedNamespaces(above namespace: UInt32 = 0) -> Self {
    Self("Allocated Namespace List", 0x10, namespace: namespace) { bytes throws(MalformedAnswer) in try list(bytes) }
  }

  /// It ends with a zero.
  private static func list(_ bytes: AnswerBytes) throws(MalformedAnswer) -> [UInt32] {
    var namespaces: [UInt32] = []
    for offset in stride(from: 0, to: bytes.count / 4 * 4, by: 4) {
      let namespace: UInt32 = try bytes.littleEndian(offset)
      guard namespace != 0 else { break }
      namespaces.append(namespace)
    }
    return namespaces
  }
}

extension Identify where Answer == [UInt16] {
  /// The controllers that a namespace is attached to.
  public static func controllers(ofNamespace namespace: UInt32) -> Self {
    Self("Controllers of a Namespace", 0x12, namespace: namespace) { bytes throws(MalformedAnswer) in
      try list(bytes)
    }
  }

  /// All of the subsystem.
  public static var controllers: Self {
    Self("Controllers", 0x13) { bytes throws(MalformedAnswer) in try list(bytes) }
  }

  private static func list(_ bytes: AnswerBytes) throws(MalformedAnswer) -> [UInt16] {
    let count: UInt16 = try bytes.littleEndian(0)
    guard count <= 2047 else { throw MalformedAnswer("it lists \(count) controllers, and there is room for 2047") }
    var controllers: [UInt16] = []
    for index in 0..<Int(count) { controllers.append(try bytes.littleEndian(2 + 2 * index)) }
    return controllers
  }
}

extension Identify where Answer == NVMePrimaryCapabilities {
  public static func primaryCapabilities(of controller: UInt16) -> Self {
    Self("Primary Controller Capabilities", 0x14, controller: controller) { bytes throws(MalformedAnswer) in
      try NVMePrimaryCapabilities(bytes)
    }
  }
}

extension Identify where Answer == [NVMeSecondary] {
  /// Of the primary controller asked, those from an identifier on; 127 at most.
  public static func secondaries(from controller: UInt16 = 0) -> Self {
    Self("Secondary Controller List", 0x15, controller: controller) { bytes throws(MalformedAnswer) in
      let count = try bytes.byte(0)
      guard count <= 127 else { throw MalformedAnswer("it lists \(count) controllers, and there is room for 127") }
      var secondaries: [NVMeSecondary] = []
      for index in 0..<Int(count) { secondaries.append(try NVMeSecondary(bytes.part(32 + 32 * index, 32))) }
      return secondaries
    }
  }
}

extension NVMeTransport {
  /// All secondaries of a primary controller, however many lists they take.
  public func secondaries() throws(NVMeError) -> [NVMeSecondary] {
    var all: [NVMeSecondary] = []
    var first: UInt16 = 0
    while true {
      let list = try send(Identify.secondaries(from: first))
      // One that repeats itself ends, too: identifiers grow from list to list.
      let new = list.filter { $0.controller >= first }
      all += new
      guard list.count == 127, let last = new.map(\.controller).max(), last < .max else { return all }
      first = last + 1
    }
  }
}
