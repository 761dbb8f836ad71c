import LinuxDevices

/// What the kernel objects of a function are called.
///
/// An interface's name holds 15 characters, a function's id does not fit. So the name is a digest, and the owner stands
/// in full in the interface's alias.
struct FunctionNames: Sendable, Hashable {
  static let aliasPrefix = "iov:"

  let function: String
  /// The name that the function's interface has unless its consumer asks for another.
  let interface: String

  init(_ function: String) {
    self.function = function
    interface = "iov" + StableDigest.hexadecimal(function).prefix(10)
  }

  /// While it has no consumer yet, or no longer.
  var unused: String { interface + "d" }
  /// The VXLAN side of a served function.
  var tunnel: String { interface + "v" }
  /// Where received packets queue up to a limit.
  var receiveLimiter: String { interface + "i" }

  var alias: String { Self.aliasPrefix + function }

  /// The function that an interface with this alias belongs to; nil: none of ours.
  static func function(inAlias alias: String?) -> String? {
    guard let alias, alias.hasPrefix(aliasPrefix) else { return nil }
    return String(alias.dropFirst(aliasPrefix.count))
  }
}
