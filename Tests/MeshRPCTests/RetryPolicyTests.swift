import Testing

@testable import MeshRPC

/// Which failed calls are made again, and when: decided without sockets.
@Suite struct RetryPolicyTests {
  static let policy = RetryPolicy(
    maximumAttempts: 4,
    backoff: ExponentialBackoff(initial: .milliseconds(100), multiplier: 2, maximum: .milliseconds(300)),
    codes: [.unavailable, .resourceExhausted])

  private struct Call {
    var attempts = CallAttempts()
    var tokens = RetryTokens(nil)
    var policy: RetryPolicy? = RetryPolicyTests.policy

    mutating func failed(
      _ code: StatusCode = .unavailable, pushback: String? = nil, refused: Bool = false, leaving: Bool = false,
      committed: Bool = false
    ) -> CallAttempts.Verdict {
      let failure = AttemptFailure(
        code: code, pushback: pushback, wasRefused: refused, wasLeaving: leaving, isCommitted: committed)
      return attempts.failed(failure, policy: policy, tokens: &tokens, draw: 0.5)
    }
  }

  @Test func attemptsAreLimitedAndTheirDelaysGrow() {
    var call = Call()
    #expect(call.failed() == .again(after: .milliseconds(100)))
    #expect(call.failed() == .again(after: .milliseconds(200)))
    #expect(call.failed() == .again(after: .milliseconds(300)))
    #expect(call.failed() == .giveUp)
    #expect(call.attempts.previous == 3)
  }

  @Test func aboveFiveAttemptsCountAsFive() {
    var call = Call()
    call.policy?.maximumAttempts = 100
    for _ in 1...4 { #expect(call.failed() != .giveUp) }
    #expect(call.failed() == .giveUp)
  }

  @Test func onlyTheNamedCodesAreTriedAgain() {
    for code in StatusCode.allCases where code != .ok {
      var call = Call()
      #expect((call.failed(code) == .giveUp) == !Self.policy.codes.contains(code), "\(code)")
    }
  }

  @Test func anAnswerThatHasBegunIsNotTakenBack() {
    var call = Call()
    #expect(call.failed(committed: true) == .giveUp)
    #expect(call.failed(refused: true, committed: true) == .giveUp)
  }

  @Test func whatTheServerHasNotBegunIsMadeAgainOnceWithoutAnyPolicy() {
    var call = Call()
    call.policy = nil
    #expect(call.failed(refused: true) == .again(after: .zero))
    #expect(call.attempts.previous == 0)
    #expect(call.failed(refused: true) == .giveUp)
  }

  @Test func connectionsThatLeaveAreReplacedMoreOftenButNotForEver() {
    var call = Call()
    call.policy = nil
    for _ in 1...5 { #expect(call.failed(refused: true, leaving: true) == .again(after: .zero)) }
    #expect(call.failed(refused: true, leaving: true) == .giveUp)
    #expect(call.attempts.previous == 0)
  }

  @Test func aServerNamesTheDelayAndTheNextOneIsTheFirstAgain() {
    var call = Call()
    #expect(call.failed() == .again(after: .milliseconds(100)))
    #expect(call.failed(pushback: "1500") == .again(after: .milliseconds(1500)))
    #expect(call.failed() == .again(after: .milliseconds(100)))
  }

  @Test(arguments: ["-1", "", "soon", "99999999999", "1.5"]) func aServerMayAskForNoMoreAttempts(pushback: String) {
    var call = Call()
    #expect(call.failed(pushback: pushback) == .giveUp)
  }

  @Test func aDelayDoesNotMakeACodeRetryable() {
    var call = Call()
    #expect(call.failed(.notFound, pushback: "10") == .giveUp)
  }

  @Test func aServerThatFailsTooOftenIsLeftAlone() {
    var tokens = RetryTokens(RetryBudget(maximumTokens: 10, tokenRatio: 0.5))
    let failure = AttemptFailure(code: .unavailable)
    func verdict() -> CallAttempts.Verdict {
      var attempts = CallAttempts()
      return attempts.failed(failure, policy: Self.policy, tokens: &tokens, draw: 0.5)
    }
    for _ in 1...4 { #expect(verdict() != .giveUp) }
    // Half of the tokens are gone.
    #expect(verdict() == .giveUp)
    for _ in 1...4 { tokens.succeeded() }
    #expect(verdict() != .giveUp, "6 of 10 are left")
    #expect(verdict() == .giveUp)
    for _ in 1...1000 { tokens.succeeded() }
    #expect(verdict() != .giveUp)
  }

  @Test func callersErrorsTakeNoTokens() {
    var call = Call()
    call.tokens = RetryTokens(RetryBudget(maximumTokens: 4, tokenRatio: 0.1))
    for _ in 1...100 { _ = call.failed(.invalidArgument) }
    #expect(call.failed() != .giveUp)
  }

  @Test func aMethodsOwnPolicyCountsMore() {
    let rules = RetryRules(policy: Self.policy, methods: ["/a.B/Once": .once, "/a.B/Twice": RetryPolicy()])
    #expect(rules.policy(for: "/a.B/Once") == .once)
    #expect(rules.policy(for: "/a.B/Twice") == RetryPolicy())
    #expect(rules.policy(for: "/a.B/Other") == Self.policy)
  }
}
