/// When a failed call is made again, as gRPC's retry design (gRFC A6) says.
///
/// Only calls with one message out are made again, and only until the answer's headers have come. The call's deadline
/// covers all its attempts.
public struct RetryPolicy: Sendable, Hashable {
  /// With the first one. Above five counts as five.
  public var maximumAttempts: Int
  /// Before the second attempt, the third, and so on. A server may ask for another delay, or for none at all, by
  /// `grpc-retry-pushback-ms` in its trailers.
  public var backoff: ExponentialBackoff
  /// How a call must have failed. UNAVAILABLE may also mean that a connection was lost while the server was at work: a
  /// method that must not be carried out twice has no policy.
  public var codes: Set<StatusCode>

  public init(
    maximumAttempts: Int = 4,
    backoff: ExponentialBackoff = ExponentialBackoff(
      initial: .milliseconds(100), multiplier: 2, maximum: .seconds(1)),
    codes: Set<StatusCode> = [.unavailable]
  ) {
    self.maximumAttempts = maximumAttempts
    self.backoff = backoff
    self.codes = codes
  }

  /// For a method that must not be called twice.
  public static let once = RetryPolicy(maximumAttempts: 1)

  static let mostAttempts = 5
}

/// Which calls of a channel are made again.
public struct RetryRules: Sendable, Hashable {
  /// For methods that have no policy of their own. nil: they are made once.
  public var policy: RetryPolicy?
  /// By path, `/package.Service/Method`.
  public var methods: [String: RetryPolicy]
  /// What all calls of the channel share. nil: without a limit.
  public var budget: RetryBudget?

  public init(
    policy: RetryPolicy? = nil, methods: [String: RetryPolicy] = [:], budget: RetryBudget? = RetryBudget()
  ) {
    self.policy = policy
    self.methods = methods
    self.budget = budget
  }

  var isEmpty: Bool { policy == nil && methods.isEmpty }

  func policy(for path: String) -> RetryPolicy? { methods[path] ?? policy }
}

/// Keeps retries from burying a server that fails: each failure takes a token, each success gives a part of one back, and
/// calls are made again only while more than half of the tokens are left.
public struct RetryBudget: Sendable, Hashable {
  public var maximumTokens: Double
  /// What a success gives back.
  public var tokenRatio: Double

  public init(maximumTokens: Double = 10, tokenRatio: Double = 0.1) {
    self.maximumTokens = maximumTokens
    self.tokenRatio = tokenRatio
  }
}

/// The tokens of a channel.
struct RetryTokens {
  private let budget: RetryBudget?
  private var count: Double

  init(_ budget: RetryBudget?) {
    self.budget = budget
    count = budget?.maximumTokens ?? 0
  }

  mutating func succeeded() {
    guard let budget else { return }
    count = min(count + budget.tokenRatio, budget.maximumTokens)
  }

  mutating func failed() { count = max(0, count - 1) }

  var allowRetry: Bool {
    guard let budget else { return true }
    return count > budget.maximumTokens / 2
  }
}

/// How an attempt of a call failed.
struct AttemptFailure {
  var code: StatusCode
  /// What stands under `grpc-retry-pushback-ms`.
  var pushback: String?
  /// The server says that it has not begun with the call (REFUSED_STREAM, or a GOAWAY below its stream).
  var wasRefused = false
  /// It was the connection that was leaving, and the call may never have left this side: another connection takes it.
  var wasLeaving = false
  /// The caller has seen a part of the answer.
  var isCommitted = false
}

/// The attempts of one call so far, and whether there is another.
struct CallAttempts {
  /// Those that failed and were followed by another: `grpc-previous-rpc-attempts`.
  private(set) var previous = 0
  /// Since the server last named a delay.
  private var backoffs = 0
  private var refusals = 0

  enum Verdict: Hashable {
    case giveUp
    case again(after: Duration)
  }

  /// - Parameter draw: from 0 to 1.
  mutating func failed(
    _ failure: AttemptFailure, policy: RetryPolicy?, tokens: inout RetryTokens, draw: Double
  ) -> Verdict {
    // What the server has not begun is no retry; but a server that always refuses, or always leaves, is not asked for ever.
    if failure.wasRefused, !failure.isCommitted, refusals < (failure.wasLeaving ? RetryPolicy.mostAttempts : 1) {
      refusals += 1
      return .again(after: .zero)
    }
    guard let policy else { return .giveUp }
    let pushback = failure.pushback.map { Int32($0) ?? -1 }
    let mayRetry = policy.codes.contains(failure.code) && (pushback ?? 0) >= 0
    // Errors of the caller's own do not tell of a server in trouble.
    if policy.codes.contains(failure.code) || (pushback ?? 0) < 0 { tokens.failed() }
    guard mayRetry, !failure.isCommitted, tokens.allowRetry,
      previous + 1 < min(policy.maximumAttempts, RetryPolicy.mostAttempts)
    else { return .giveUp }
    previous += 1
    if let pushback {
      backoffs = 0
      return .again(after: .milliseconds(Int64(pushback)))
    }
    backoffs += 1
    return .again(after: policy.backoff.delay(after: backoffs, draw: draw))
  }
}
