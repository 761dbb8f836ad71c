import Services

/// Why a request was refused before the plugin saw it.
enum LedgerError: Error, Hashable, CustomStringConvertible {
  case incomplete(verb: String, missing: String)
  case stale(verb: String, function: String, token: UInt64, highest: UInt64)
  case otherParameters(verb: String, function: String, token: UInt64, field: String)
  case staleControl(verb: String, endNode: String, token: UInt64, highest: UInt64)
  case controlYielded(verb: String, endNode: String, token: UInt64)

  var code: StatusCode {
    switch self {
    case .incomplete, .otherParameters: .invalidArgument
    case .stale, .staleControl, .controlYielded: .failedPrecondition
    }
  }

  /// Of a token that is stale: the highest one seen, for the caller to tell this refusal from others.
  var highestToken: UInt64? {
    switch self {
    case .stale(_, _, _, let highest), .staleControl(_, _, _, let highest): highest
    case .incomplete, .otherParameters, .controlYielded: nil
    }
  }

  var description: String {
    switch self {
    case .incomplete(let verb, let missing): "\(verb) lacks \(missing)."
    case .stale(let verb, let function, let token, let highest):
      "\(verb) of \(function) came with token \(token), which is stale: the highest token seen or released is \(highest)."
    case .otherParameters(let verb, let function, let token, let field):
      "\(verb) of \(function) came with token \(token) and another \(field) than before; a change needs a new token."
    case .staleControl(let verb, let endNode, let token, let highest):
      "\(verb) of \(endNode) came with control token \(token), which is stale: the highest token seen is \(highest)."
    case .controlYielded(let verb, let endNode, let token):
      "\(verb) needs control of \(endNode), which was yielded under control token \(token)."
    }
  }
}
