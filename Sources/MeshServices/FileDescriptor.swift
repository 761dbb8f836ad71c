/// A .proto file as server reflection shows it: its serialized `google.protobuf.FileDescriptorProto`.
///
/// `Descriptors` has one for every file of proto/. Reading it costs time and memory once, at the first use.
public struct FileDescriptor: Sendable {
  /// As other files import it: `iov/v1/claims.proto`.
  public let name: String
  /// The files that it imports.
  public let dependencies: [String]
  public let bytes: [UInt8]
  /// The full names of all that it declares: messages, fields, oneofs, enums, their values, services, methods.
  let symbols: Set<String>
  let messages: Set<String>

  /// - Parameter latin1: one character for each byte, as the generator writes them.
  public init(latin1: String) {
    let bytes = latin1.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
    let file = DescriptorFields(bytes[...])
    var declarations = Declarations()
    declarations.add(file: file)
    self.bytes = bytes
    name = file.string(1)
    dependencies = file.all(3).map { String(decoding: $0, as: UTF8.self) }
    symbols = declarations.symbols
    messages = declarations.messages
  }
}

/// The full names that a file declares. The numbers are field numbers of google/protobuf/descriptor.proto.
private struct Declarations {
  var symbols: Set<String> = []
  var messages: Set<String> = []

  mutating func add(file: DescriptorFields) {
    let package = file.string(2)
    for message in file.all(4) { add(message: DescriptorFields(message), in: package) }
    for enumeration in file.all(5) { add(enumeration: DescriptorFields(enumeration), in: package) }
    for service in file.all(6) { add(parts: 2, of: DescriptorFields(service), in: package) }
  }

  private mutating func add(message: DescriptorFields, in scope: String) {
    let name = joined(scope, message.string(1))
    messages.insert(name)
    add(parts: 2, of: message, in: scope)
    add(parts: 8, of: message, in: scope)
    for nested in message.all(3) { add(message: DescriptorFields(nested), in: name) }
    for nested in message.all(4) { add(enumeration: DescriptorFields(nested), in: name) }
  }

  /// An enum's values stand beside it, as in C++.
  private mutating func add(enumeration: DescriptorFields, in scope: String) {
    symbols.insert(joined(scope, enumeration.string(1)))
    for value in enumeration.all(2) { symbols.insert(joined(scope, DescriptorFields(value).string(1))) }
  }

  /// What is declared, and its parts, which stand under `number`.
  private mutating func add(parts number: Int, of declaration: DescriptorFields, in scope: String) {
    let name = joined(scope, declaration.string(1))
    symbols.insert(name)
    for part in declaration.all(number) { symbols.insert(joined(name, DescriptorFields(part).string(1))) }
  }

  private func joined(_ scope: String, _ name: String) -> String { scope.isEmpty ? name : scope + "." + name }
}

/// The length-delimited fields of a message that protoc wrote and our generator embedded. Something malformed would be our
/// own error; it ends the reading.
private struct DescriptorFields {
  private var fields: [(number: Int, value: ArraySlice<UInt8>)] = []

  init(_ bytes: ArraySlice<UInt8>) {
    var rest = bytes
    while let tag = Self.varint(&rest) {
      switch tag & 7 {
      case 0: _ = Self.varint(&rest)
      case 1: rest = rest.dropFirst(8)
      case 2:
        guard let length = Self.varint(&rest), length <= rest.count else { return }
        fields.append((tag >> 3, rest.prefix(length)))
        rest = rest.dropFirst(length)
      case 5: rest = rest.dropFirst(4)
      default: return
      }
    }
  }

  func all(_ number: Int) -> [ArraySlice<UInt8>] { fields.filter { $0.number == number }.map(\.value) }

  func string(_ number: Int) -> String { String(decoding: all(number).last ?? [], as: UTF8.self) }

  private static func varint(_ rest: inout ArraySlice<UInt8>) -> Int? {
    var value = 0
    for shift in stride(from: 0, to: 63, by: 7) {
      guard let byte = rest.popFirst() else { return nil }
      value |= Int(byte & 0x7f) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }
}
