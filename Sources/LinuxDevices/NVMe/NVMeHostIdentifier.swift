/// Get Features, Host Identifier of 16 bytes (base specification 2.0, 5.27.1.25): zeros where none is set.
public struct GetHostIdentifier: NVMeCommand {
  public init() {}

  public var name: String { "Get Features, Host Identifier" }
  public var request: NVMeRequest { NVMeRequest(opcode: 0x0a, words: [0x81, 1]) }
  public var data: CommandData { .receive(atMost: 16) }

  public func answer(to answer: NVMeAnswer) throws(MalformedAnswer) -> [UInt8] { answer.data }
}

/// Set Features, Host Identifier of 16 bytes: by what the drive knows a host whose registrations it keeps.
public struct SetHostIdentifier: NVMeCommand {
  public typealias Answer = Void
  public let bytes: [UInt8]

  /// - Parameter bytes: 16; what is missing is filled up with zeros.
  public init(bytes: [UInt8]) { self.bytes = Array((bytes + [UInt8](repeating: 0, count: 16)).prefix(16)) }

  public var name: String { "Set Features, Host Identifier" }
  public var request: NVMeRequest { NVMeRequest(opcode: 0x09, words: [0x81, 1]) }
  public var data: CommandData { .send(bytes) }
}
