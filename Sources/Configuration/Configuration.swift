import Glibc

/// A configuration that cannot be used, and what to change: file, line, what was found, what was expected.
public struct ConfigurationError: Error, Hashable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }
}

/// Thrown by a configuration type's own `init(from:)` when a value makes no sense; the reader of the file is told its
/// place.
public struct InvalidValue: Error, Hashable {
  public let message: String

  public init(_ message: String) { self.message = message }
}

/// Reads strict YAML: a key that the type does not ask for is an error that names the nearest one that it does.
public enum Configuration {
  /// The largest file read. Configurations are written by people; a larger file is a mistake.
  static let maximumByteCount = 1 << 20

  /// Reads the file at `path` as a `Value`.
  public static func load<Value: Decodable>(_ type: Value.Type, from path: String) throws(ConfigurationError) -> Value {
    try decode(type, from: bytes(ofFile: path), named: path)
  }

  /// Decodes YAML text as a `Value`; `name` stands before the line number in errors.
  public static func decode<Value: Decodable>(
    _ type: Value.Type, from text: String, named name: String
  ) throws(ConfigurationError) -> Value {
    try decode(type, from: Array(text.utf8), named: name)
  }

  private static func decode<Value: Decodable>(
    _ type: Value.Type, from bytes: [UInt8], named name: String
  ) throws(ConfigurationError) -> Value {
    let root = try YAMLParser.parse(bytes, named: name)
    return try NodeDecoder(node: root, file: name, codingPath: []).decode(type)
  }

  private static func bytes(ofFile path: String) throws(ConfigurationError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw ConfigurationError("cannot open the configuration file \(path): \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    return try bytes(of: descriptor, path, atMost: maximumByteCount, kind: "configuration")
  }

  static func bytes(
    of descriptor: CInt, _ path: String, atMost limit: Int, kind: String
  ) throws(ConfigurationError) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(descriptor, &chunk, chunk.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw ConfigurationError("cannot read the \(kind) file \(path): \(String(cString: strerror(errno)))")
      }
      if count == 0 { return bytes }
      bytes += chunk[..<count]
      guard bytes.count <= limit else {
        throw ConfigurationError("\(path) is larger than \(limit) bytes: is it a \(kind) file?")
      }
    }
  }
}
