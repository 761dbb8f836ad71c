import CYAML

/// Writes a tree as one YAML document in block style, keys in order of their letters, through libyaml's emitter.
///
/// A text that YAML 1.1 or 1.2 would read as something else (a number, `yes`, a time) stands between quotes.
struct YAMLEmitter: ~Copyable {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let emitter: UnsafeMutablePointer<yaml_emitter_t>
  private let output = Output()

  static func document(_ tree: JSONTree) throws -> String {
    var emitter = try YAMLEmitter()
    return try emitter.document(tree)
  }

  private init() throws {
    emitter = .allocate(capacity: 1)
    emitter.initialize(to: yaml_emitter_t())
    guard yaml_emitter_initialize(emitter) == 1 else { throw Failure(description: "no memory for a YAML emitter") }
    yaml_emitter_set_unicode(emitter, 1)
    // A line is as long as its text: folded ones are hard to search.
    yaml_emitter_set_width(emitter, -1)
    yaml_emitter_set_output(
      emitter,
      { target, bytes, count in
        guard let target, let bytes else { return 0 }
        let output = Unmanaged<Output>.fromOpaque(target).takeUnretainedValue()
        output.bytes += UnsafeBufferPointer(start: bytes, count: count)
        return 1
      }, Unmanaged.passUnretained(output).toOpaque())
  }

  deinit {
    yaml_emitter_delete(emitter)
    emitter.deallocate()
  }

  /// Where libyaml's callback puts what it has written.
  private final class Output {
    var bytes: [UInt8] = []
  }

  private mutating func document(_ tree: JSONTree) throws -> String {
    try emit { yaml_stream_start_event_initialize($0, YAML_UTF8_ENCODING) }
    try emit { yaml_document_start_event_initialize($0, nil, nil, nil, 1) }
    try node(tree)
    try emit { yaml_document_end_event_initialize($0, 1) }
    try emit { yaml_stream_end_event_initialize($0) }
    return String(decoding: output.bytes, as: UTF8.self)
  }

  private mutating func node(_ tree: JSONTree) throws {
    switch tree {
    case .null: try scalar("null")
    case .boolean(let value): try scalar(value ? "true" : "false")
    case .integer(let value): try scalar(String(value))
    case .fraction(let value): try scalar(String(value))
    case .text(let text): try scalar(text, style: Self.style(of: text))
    case .list(let elements):
      try emit { yaml_sequence_start_event_initialize($0, nil, nil, 1, YAML_BLOCK_SEQUENCE_STYLE) }
      for element in elements { try node(element) }
      try emit { yaml_sequence_end_event_initialize($0) }
    case .object(let entries):
      try emit { yaml_mapping_start_event_initialize($0, nil, nil, 1, YAML_BLOCK_MAPPING_STYLE) }
      for (key, value) in entries.sorted(by: { $0.key < $1.key }) {
        try scalar(key, style: Self.style(of: key))
        try node(value)
      }
      try emit { yaml_mapping_end_event_initialize($0) }
    }
  }

  private mutating func scalar(_ text: String, style: yaml_scalar_style_t = YAML_PLAIN_SCALAR_STYLE) throws {
    var text = text
    try text.withUTF8 { bytes in
      // An empty string's bytes may have no address.
      var nothing: UInt8 = 0
      try withUnsafePointer(to: &nothing) { empty in
        let count = CInt(bytes.count)
        let start = bytes.baseAddress ?? empty
        try emit { yaml_scalar_event_initialize($0, nil, nil, start, count, 1, 1, style) }
      }
    }
  }

  private func emit(_ initialize: (UnsafeMutablePointer<yaml_event_t>) -> CInt) throws {
    var event = yaml_event_t()
    // libyaml takes the event over, also when it fails.
    guard initialize(&event) == 1, yaml_emitter_emit(emitter, &event) == 1 else {
      throw Failure(description: emitter.pointee.problem.map { String(cString: $0) } ?? "no memory for YAML")
    }
  }

  // MARK: Quotes

  /// Plain is only what begins like a word or a path and is none of YAML's own words; libyaml quotes what its syntax
  /// does not allow plain. A line break is written as `\n`.
  private static func style(of text: String) -> yaml_scalar_style_t {
    guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return YAML_DOUBLE_QUOTED_SCALAR_STYLE }
    guard let first = text.unicodeScalars.first, first.properties.isAlphabetic || first == "/" || first == "_",
      !words.contains(text.lowercased())
    else { return YAML_SINGLE_QUOTED_SCALAR_STYLE }
    return YAML_ANY_SCALAR_STYLE
  }

  /// Booleans and null of YAML 1.1 and 1.2.
  private static let words: Set<String> = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
}
