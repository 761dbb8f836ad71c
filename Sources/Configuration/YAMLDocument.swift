import Glibc

/// One document of a file that holds several, or one element of a list in it, with its place.
public struct YAMLDocument {
  private let node: YAMLNode
  /// As errors name it.
  public let file: String
  private let path: [any CodingKey]

  /// The line that it begins on; the first is 1.
  public var line: Int { node.line }

  /// People write such files, and programs do.
  private static let maximumByteCount = 64 << 20

  /// Reads all documents of a file; `-` is standard input. Those that hold nothing are left out.
  public static func load(from path: String, kind: String) throws(ConfigurationError) -> [YAMLDocument] {
    let name = path == "-" ? "standard input" : path
    let descriptor = path == "-" ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw ConfigurationError("cannot open the \(kind) file \(name): \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    return try parse(Configuration.bytes(of: descriptor, name, atMost: maximumByteCount, kind: kind), named: name)
  }

  public static func parse(_ text: String, named name: String) throws(ConfigurationError) -> [YAMLDocument] {
    try parse(Array(text.utf8), named: name)
  }

  private static func parse(_ bytes: [UInt8], named name: String) throws(ConfigurationError) -> [YAMLDocument] {
    var documents: [YAMLDocument] = []
    for document in try YAMLParser.documents(bytes, named: name) {
      if case .null = document.root.content { continue }
      documents.append(YAMLDocument(node: document.root, file: name, path: []))
    }
    return documents
  }

  public func decode<Value: Decodable>(_ type: Value.Type) throws(ConfigurationError) -> Value {
    try NodeDecoder(node: node, file: file, codingPath: path).decode(type)
  }

  /// What stands under a key; nil if nothing does.
  public func value(of key: String) -> YAMLDocument? {
    guard case .mapping(let entries) = node.content, let entry = entries.first(where: { $0.key == key }) else {
      return nil
    }
    return YAMLDocument(node: entry.value, file: file, path: path + [Step(key, nil)])
  }

  /// Nil if it is no list.
  public var elements: [YAMLDocument]? {
    guard case .sequence(let nodes) = node.content else { return nil }
    return nodes.enumerated().map { YAMLDocument(node: $1, file: file, path: path + [Step("\($0)", $0)]) }
  }

  public func error(_ message: String) -> ConfigurationError { ConfigurationError("\(file):\(line): \(message)") }

  private struct Step: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(_ text: String, _ number: Int?) { (stringValue, intValue) = (text, number) }
    init?(stringValue: String) { self.init(stringValue, nil) }
    init?(intValue: Int) { self.init("\(intValue)", intValue) }
  }
}
