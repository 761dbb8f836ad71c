/// Why bytes are not a message of the type asked for.
public struct MessageDecodingError: Error, Hashable, CustomStringConvertible {
  public var message: String
  /// What was wrong, and in which message and field.
  public var description: String { message }

  public init(_ message: String) { self.message = message }
}
