/// One value of a YAML document, with the line it begins on (the first is 1).
struct YAMLNode {
  enum Content {
    case null
    /// Text between quotes is never a number, a Boolean or null.
    case scalar(String, quoted: Bool)
    case sequence([YAMLNode])
    case mapping([Entry])
  }

  struct Entry {
    let key: String
    let line: Int
    let value: YAMLNode
  }

  let content: Content
  let line: Int

  /// What it is, for a reader of the file.
  var summary: String {
    switch content {
    case .null: "nothing"
    case .scalar(let text, _): "'\(text)'"
    case .sequence: "a list"
    case .mapping: "a group of keys"
    }
  }
}
