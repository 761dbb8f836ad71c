struct KeyedNodes<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let decoder: NodeDecoder
  var codingPath: [any CodingKey] { decoder.codingPath }

  var allKeys: [Key] {
    guard case .mapping(let entries) = decoder.node.content else { return [] }
    return entries.compactMap { Key(stringValue: $0.key) }
  }

  func contains(_ key: Key) -> Bool { decoder.request(key.stringValue) != nil }

  func decodeNil(forKey key: Key) throws -> Bool {
    guard let node = decoder.request(key.stringValue), case .null = node.content else { return false }
    return true
  }

  func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
    try nested(key).decode(type)
  }

  private func nested(_ key: Key) throws -> NodeDecoder {
    guard let node = decoder.request(key.stringValue) else {
      throw decoder.error("the key '\(key.stringValue)' is missing in \(decoder.place)")
    }
    return decoder.child(node, at: key)
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    try nested(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try nested(key).unkeyedContainer()
  }

  func superDecoder() throws -> any Decoder { decoder }
  func superDecoder(forKey key: Key) throws -> any Decoder { try nested(key) }
}

struct ListedNodes: UnkeyedDecodingContainer {
  let decoder: NodeDecoder
  let elements: [YAMLNode]
  private(set) var currentIndex = 0

  var codingPath: [any CodingKey] { decoder.codingPath }
  var count: Int? { elements.count }
  var isAtEnd: Bool { currentIndex == elements.count }

  init(decoder: NodeDecoder, elements: [YAMLNode]) {
    self.decoder = decoder
    self.elements = elements
  }

  mutating func decodeNil() throws -> Bool {
    guard !isAtEnd, case .null = elements[currentIndex].content else { return false }
    currentIndex += 1
    return true
  }

  mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try next().decode(type) }

  private mutating func next() throws -> NodeDecoder {
    guard !isAtEnd else { throw decoder.error("\(decoder.place) has only \(elements.count) elements") }
    defer { currentIndex += 1 }
    return decoder.child(elements[currentIndex], at: Index(currentIndex))
  }

  mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
    try next().container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next().unkeyedContainer() }
  mutating func superDecoder() throws -> any Decoder { try next() }

  private struct Index: CodingKey {
    let value: Int
    init(_ value: Int) { self.value = value }
    init?(stringValue: String) { return nil }
    init?(intValue: Int) { value = intValue }
    var stringValue: String { String(value) }
    var intValue: Int? { value }
  }
}

struct ScalarNode: SingleValueDecodingContainer {
  let decoder: NodeDecoder
  var codingPath: [any CodingKey] { decoder.codingPath }

  func decodeNil() -> Bool {
    if case .null = decoder.node.content { true } else { false }
  }

  func decode(_ type: Bool.Type) throws -> Bool {
    switch try text(expecting: "true or false", plain: true) {
    case "true": return true
    case "false": return false
    default: throw mismatch("true or false")
    }
  }

  func decode(_ type: String.Type) throws -> String { try text(expecting: "text", plain: false) }
  func decode(_ type: Double.Type) throws -> Double { try number(type, "a number") }
  func decode(_ type: Float.Type) throws -> Float { try number(type, "a number") }
  func decode(_ type: Int.Type) throws -> Int { try integer() }
  func decode(_ type: Int8.Type) throws -> Int8 { try integer() }
  func decode(_ type: Int16.Type) throws -> Int16 { try integer() }
  func decode(_ type: Int32.Type) throws -> Int32 { try integer() }
  func decode(_ type: Int64.Type) throws -> Int64 { try integer() }
  func decode(_ type: UInt.Type) throws -> UInt { try integer() }
  func decode(_ type: UInt8.Type) throws -> UInt8 { try integer() }
  func decode(_ type: UInt16.Type) throws -> UInt16 { try integer() }
  func decode(_ type: UInt32.Type) throws -> UInt32 { try integer() }
  func decode(_ type: UInt64.Type) throws -> UInt64 { try integer() }

  func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try decoder.decode(type) }

  private func integer<Value: FixedWidthInteger>() throws -> Value {
    try number(Value.self, "a whole number from \(Value.min) to \(Value.max)")
  }

  private func number<Value: LosslessStringConvertible>(_ type: Value.Type, _ expected: String) throws -> Value {
    guard let value = Value(try text(expecting: expected, plain: true)) else { throw mismatch(expected) }
    return value
  }

  private func text(expecting expected: String, plain: Bool) throws -> String {
    guard case .scalar(let text, let quoted) = decoder.node.content, !(plain && quoted) else {
      throw mismatch(expected)
    }
    return text
  }

  private func mismatch(_ expected: String) -> ConfigurationError {
    decoder.error("\(decoder.place) must be \(expected), found \(decoder.node.summary)")
  }
}
