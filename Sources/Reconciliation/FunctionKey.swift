import Messages

/// What the host keeps apart: one function in one role under one token. Another token is another grant, even if the
/// function is called the same.
public struct FunctionKey: Sendable, Hashable, Comparable, CustomStringConvertible {
  public var function: String
  public var role: Role
  public var token: UInt64

  public init(function: String, role: Role, token: UInt64) {
    self.function = function
    self.role = role
    self.token = token
  }

  /// Nil if the entry names no function.
  public init?(_ entry: WantedFunction) {
    guard let assignment = entry.assignment, !assignment.function.isEmpty else { return nil }
    self.init(function: assignment.function, role: entry.role, token: assignment.token?.value ?? 0)
  }

  /// Nil if the status names no function.
  public init?(_ status: FunctionStatus) {
    guard let function = status.function, !function.id.isEmpty else { return nil }
    self.init(function: function.id, role: status.role, token: function.token?.value ?? 0)
  }

  public static func < (left: Self, right: Self) -> Bool {
    (left.function, left.role.rawValue, left.token) < (right.function, right.role.rawValue, right.token)
  }

  public var description: String { "\(function) (\(role), token \(token))" }
}
