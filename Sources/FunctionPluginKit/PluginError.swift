import Services

/// What a plugin throws when a verb cannot be carried out.
///
/// The code tells the agent what to do: `.unavailable`, `.aborted` and `.internalError` are tried again, the rest wait for
/// a change elsewhere. The message speaks to an operator: what was asked, what was found, what to do.
public struct PluginError: Error, Hashable, CustomStringConvertible {
  public var code: StatusCode
  public var message: String
  /// The token asked for is spent, and this is the highest one that the device itself has seen.
  public var highestToken: FencingToken?

  public init(_ code: StatusCode, _ message: String, highestToken: FencingToken? = nil) {
    self.code = code
    self.message = message
    self.highestToken = highestToken
  }

  public var description: String { message }
}

extension RPCError {
  /// Beside FAILED_PRECONDITION when a token is stale.
  static let highestTokenTrailer = "iov-highest-token"

  /// The status that an agent is told for an error of a verb.
  init(verbFailure error: any Error) {
    switch error {
    case let error as RPCError: self = error
    case let error as PluginError:
      self = RPCError(error.code, error.message)
      if let highest = error.highestToken { metadata.add(Self.highestTokenTrailer, .text("\(highest.value)")) }
    case let error as LedgerError:
      self = RPCError(error.code, error.description)
      if let highest = error.highestToken { metadata.add(Self.highestTokenTrailer, .text("\(highest)")) }
    case is CancellationError: self = RPCError(.cancelled, "The verb was cancelled.")
    default: self = RPCError(.internalError, String(describing: error))
    }
  }
}
