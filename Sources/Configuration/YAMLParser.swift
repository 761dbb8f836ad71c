import CYAML

/// Builds nodes from libyaml's events: no aliases (a small file could expand without bound), no tags, no
/// key twice.
struct YAMLParser: ~Copyable {
  private static let maximumDepth = 64

  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let file: String
  private let eventStorage: UnsafeMutablePointer<yaml_event_t>

  /// One document; of an empty file one without keys.
  static func parse(_ bytes: [UInt8], named file: String) throws(ConfigurationError) -> YAMLNode {
    let found = try documents(bytes, named: file)
    guard found.count < 2 else {
      throw ConfigurationError(
        "\(file):\(found[1].line): a second document begins here; one file holds one configuration")
    }
    return found.first?.root ?? YAMLNode(content: .mapping([]), line: 1)
  }

  /// All documents, each with the line that it begins on.
  static func documents(
    _ bytes: [UInt8], named file: String
  ) throws(ConfigurationError) -> [(line: Int, root: YAMLNode)] {
    let result = bytes.withUnsafeBufferPointer { buffer in
      Result { () throws(ConfigurationError) in
        var parser = try YAMLParser(buffer, file: file)
        return try parser.documents()
      }
    }
    return try result.get()
  }

  /// `bytes` must outlive the parser: libyaml reads them as it goes.
  private init(_ bytes: UnsafeBufferPointer<UInt8>, file: String) throws(ConfigurationError) {
    self.file = file
    parser = .allocate(capacity: 1)
    parser.initialize(to: yaml_parser_t())
    eventStorage = .allocate(capacity: 1)
    eventStorage.initialize(to: yaml_event_t())
    guard yaml_parser_initialize(parser) == 1 else {
      throw ConfigurationError("\(file): no memory for a YAML parser")
    }
    yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
  }

  deinit {
    yaml_event_delete(eventStorage)
    eventStorage.deallocate()
    yaml_parser_delete(parser)
    parser.deallocate()
  }

  private mutating func documents() throws(ConfigurationError) -> [(line: Int, root: YAMLNode)] {
    var found: [(line: Int, root: YAMLNode)] = []
    try advance()  // stream start
    try advance()
    while event.type != YAML_STREAM_END_EVENT {
      let start = line
      try advance()
      found.append((start, try node(depth: 0)))
      try advance()  // document end
      try advance()
    }
    return found
  }

  /// The node that begins with the current event.
  private mutating func node(depth: Int) throws(ConfigurationError) -> YAMLNode {
    let start = line
    guard depth < Self.maximumDepth else { throw error(start, "nested more than \(Self.maximumDepth) deep") }
    switch event.type {
    case YAML_SCALAR_EVENT:
      return YAMLNode(content: try scalar(), line: start)
    case YAML_SEQUENCE_START_EVENT:
      return YAMLNode(content: try sequence(depth: depth), line: start)
    case YAML_MAPPING_START_EVENT:
      return YAMLNode(content: try mapping(depth: depth), line: start)
    case YAML_ALIAS_EVENT:
      throw error(start, "aliases (*name) are not supported; write the value out")
    default:
      throw error(start, "expected a value")
    }
  }

  private func scalar() throws(ConfigurationError) -> YAMLNode.Content {
    let text = try scalarText()
    let quoted = event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE
    if !quoted, text.isEmpty || text == "~" || text == "null" { return .null }
    return .scalar(text, quoted: quoted)
  }

  private func scalarText() throws(ConfigurationError) -> String {
    let bytes = UnsafeBufferPointer(start: event.data.scalar.value, count: event.data.scalar.length)
    guard let text = String(validating: bytes, as: UTF8.self) else { throw error(line, "not UTF-8") }
    return text
  }

  private mutating func sequence(depth: Int) throws(ConfigurationError) -> YAMLNode.Content {
    var elements: [YAMLNode] = []
    try advance()
    while event.type != YAML_SEQUENCE_END_EVENT {
      elements.append(try node(depth: depth + 1))
      try advance()
    }
    return .sequence(elements)
  }

  private mutating func mapping(depth: Int) throws(ConfigurationError) -> YAMLNode.Content {
    var entries: [YAMLNode.Entry] = []
    try advance()
    while event.type != YAML_MAPPING_END_EVENT {
      guard event.type == YAML_SCALAR_EVENT else { throw error(line, "a key must be plain text") }
      let key = try scalarText()
      let keyLine = line
      if let first = entries.first(where: { $0.key == key }) {
        throw error(keyLine, "the key '\(key)' stands twice, first on line \(first.line)")
      }
      try advance()
      entries.append(YAMLNode.Entry(key: key, line: keyLine, value: try node(depth: depth + 1)))
      try advance()
    }
    return .mapping(entries)
  }

  private mutating func advance() throws(ConfigurationError) {
    yaml_event_delete(eventStorage)
    guard yaml_parser_parse(parser, eventStorage) == 1 else {
      let problem = parser.pointee.problem.map { String(cString: $0) } ?? "not YAML"
      throw error(Int(parser.pointee.problem_mark.line) + 1, problem)
    }
  }

  private var event: yaml_event_t { eventStorage.pointee }

  private var line: Int { Int(event.start_mark.line) + 1 }

  private func error(_ line: Int, _ message: String) -> ConfigurationError {
    ConfigurationError("\(file):\(line): \(message)")
  }
}
