/// The name of a field in JSON, or the key of a map.
struct FieldKey: CodingKey {
  var stringValue: String
  var intValue: Int? { nil }

  init(_ name: String) { stringValue = name }
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

/// A key of a map: JSON knows only strings.
public protocol JSONMapKey: Hashable, Comparable, LosslessStringConvertible {}
extension String: JSONMapKey {}
extension Int32: JSONMapKey {}
extension UInt32: JSONMapKey {}
extension Int64: JSONMapKey {}
extension UInt64: JSONMapKey {}

/// Reads the fields of a message from its JSON object. Generated code uses it.
public struct MessageFieldsReader {
  private let container: KeyedDecodingContainer<FieldKey>
  /// What is there and not null: the JSON name and the key as it is written.
  private let present: [String: FieldKey]

  /// Refuses a field that the message does not have. A field may go by its JSON name or by its name in the .proto.
  public init(_ decoder: any Decoder, of message: String, names: [String]) throws {
    container = try decoder.container(keyedBy: FieldKey.self)
    var present: [String: FieldKey] = [:]
    for key in container.allKeys {
      let name = names.contains(key.stringValue) ? key.stringValue : jsonName(key.stringValue)
      guard names.contains(name) else {
        let text = "unknown field '\(key.stringValue)' in \(message)" + suggestion(for: key.stringValue, among: names)
        throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: text)
      }
      guard try !container.decodeNil(forKey: key) else { continue }
      if present.updateValue(key, forKey: name) != nil {
        let text = "field '\(name)' of \(message) is given twice"
        throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: text)
      }
    }
    self.present = present
  }

  public func read<Value: JSONMapped>(_ name: String, into field: inout Value) throws {
    if let value = try value(name, of: Value.self) { field = value }
  }

  public func read<Value: JSONMapped>(_ name: String, into field: inout Value?) throws {
    field = try value(name, of: Value.self)
  }

  public func read<Value: JSONMapped>(_ name: String, into field: inout [Value]) throws {
    guard let key = present[name] else { return }
    field = try container.decode([JSONBox<Value>].self, forKey: key).map(\.value)
  }

  public func read<Key: JSONMapKey, Value: JSONMapped>(_ name: String, into field: inout [Key: Value]) throws {
    guard let key = present[name] else { return }
    let entries = try container.nestedContainer(keyedBy: FieldKey.self, forKey: key)
    for entry in entries.allKeys {
      guard let entryKey = Key(entry.stringValue), !entry.stringValue.utf8.contains(0) else {
        let text = "'\(entry.stringValue)' cannot be a key of '\(name)'"
        throw DecodingError.dataCorruptedError(forKey: entry, in: entries, debugDescription: text)
      }
      field[entryKey] = try entries.decode(JSONBox<Value>.self, forKey: entry).value
    }
  }

  /// One member of a oneof; a second one is an error.
  public func read<Value: JSONMapped, Oneof>(
    _ name: String, into field: inout Oneof?, _ make: (Value) -> Oneof
  ) throws {
    guard let key = present[name], let value = try value(name, of: Value.self) else { return }
    guard field == nil else {
      let text = "'\(name)' excludes another field that is given"
      throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: text)
    }
    field = make(value)
  }

  private func value<Value: JSONMapped>(_ name: String, of type: Value.Type) throws -> Value? {
    guard let key = present[name] else { return nil }
    return try container.decode(JSONBox<Value>.self, forKey: key).value
  }
}

/// Writes the fields of a message as a JSON object; what is at its default is left out. Generated code uses it.
public struct MessageFieldsWriter {
  private var container: KeyedEncodingContainer<FieldKey>

  public init(_ encoder: any Encoder) { container = encoder.container(keyedBy: FieldKey.self) }

  public mutating func write<Value: JSONMapped>(_ name: String, _ value: Value) throws {
    guard !value.isProtobufDefault else { return }
    try container.encode(JSONBox(value), forKey: FieldKey(name))
  }

  public mutating func write<Value: JSONMapped>(_ name: String, _ value: Value?) throws {
    guard let value else { return }
    try container.encode(JSONBox(value), forKey: FieldKey(name))
  }

  public mutating func write<Value: JSONMapped>(_ name: String, _ values: [Value]) throws {
    guard !values.isEmpty else { return }
    try container.encode(values.map { JSONBox($0) }, forKey: FieldKey(name))
  }

  public mutating func write<Key: JSONMapKey, Value: JSONMapped>(_ name: String, _ values: [Key: Value]) throws {
    guard !values.isEmpty else { return }
    var entries = container.nestedContainer(keyedBy: FieldKey.self, forKey: FieldKey(name))
    for (key, value) in values.sorted(by: { $0.key < $1.key }) {
      try entries.encode(JSONBox(value), forKey: FieldKey(key.description))
    }
  }
}

/// protobuf's rule: an underscore goes and raises the letter after it.
func jsonName(_ name: String) -> String {
  var result = ""
  var raise = false
  for character in name {
    if character == "_" {
      raise = true
    } else {
      result += raise ? character.uppercased() : String(character)
      raise = false
    }
  }
  return result
}
