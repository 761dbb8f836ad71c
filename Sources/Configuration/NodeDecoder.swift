import NearNames

/// Decodes one node. Each mapping remembers which keys its type asked for; the others are errors.
final class NodeDecoder: Decoder {
  let node: YAMLNode
  let file: String
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }
  private(set) var requestedKeys: [String] = []

  init(node: YAMLNode, file: String, codingPath: [any CodingKey]) {
    self.node = node
    self.file = file
    self.codingPath = codingPath
  }

  func decode<Value: Decodable>(_ type: Value.Type) throws(ConfigurationError) -> Value {
    let value: Value
    do {
      value = try Value(from: self)
    } catch let error as ConfigurationError {
      throw error
    } catch let error as InvalidValue {
      throw self.error(error.message)
    } catch DecodingError.dataCorrupted(let context) {
      throw self.error("\(place) has the value \(node.summary): \(context.debugDescription)")
    } catch {
      throw self.error("\(place): \(error)")
    }
    try refuseUnknownKeys()
    return value
  }

  /// A type that never asked for a key (a scalar, a list) has no say in them.
  private func refuseUnknownKeys() throws(ConfigurationError) {
    guard case .mapping(let entries) = node.content else { return }
    for entry in entries where !requestedKeys.contains(entry.key) {
      let known = Set(requestedKeys).sorted()
      let hint =
        NearNames.near(entry.key, among: known, limit: 1).first.map { "; did you mean '\($0)'?" }
        ?? (known.isEmpty ? "" : "; known keys: \(known.joined(separator: ", "))")
      throw ConfigurationError("\(file):\(entry.line): unknown key '\(entry.key)'\(hint)")
    }
  }

  func request(_ key: String) -> YAMLNode? {
    requestedKeys.append(key)
    guard case .mapping(let entries) = node.content else { return nil }
    return entries.first { $0.key == key }?.value
  }

  func child(_ node: YAMLNode, at key: any CodingKey) -> NodeDecoder {
    NodeDecoder(node: node, file: file, codingPath: codingPath + [key])
  }

  var place: String {
    let path = codingPath.map { key in key.intValue.map { "[\($0)]" } ?? key.stringValue }
    return path.isEmpty ? "the file" : "'\(path.joined(separator: "."))'"
  }

  func error(_ message: String) -> ConfigurationError { ConfigurationError("\(file):\(node.line): \(message)") }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    switch node.content {
    case .mapping, .null: return KeyedDecodingContainer(KeyedNodes<Key>(decoder: self))
    default: throw error("\(place) must be a group of keys, found \(node.summary)")
    }
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    switch node.content {
    case .sequence(let elements): return ListedNodes(decoder: self, elements: elements)
    case .null: return ListedNodes(decoder: self, elements: [])
    default: throw error("\(place) must be a list, found \(node.summary)")
    }
  }

  func singleValueContainer() throws -> any SingleValueDecodingContainer { ScalarNode(decoder: self) }
}
