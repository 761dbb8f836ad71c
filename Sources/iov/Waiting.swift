import ArgumentParser
import Services

struct WaitOptions: ParsableArguments {
  @Flag(help: "Wait until it is done, with progress on standard error.") var wait = false

  @OptionGroup var limit: WaitLimit
}

struct WaitLimit: ParsableArguments {
  @Option(help: ArgumentHelp("Give up waiting after this many seconds; the claim stays.", valueName: "seconds"))
  var timeout: UInt32 = 60
}

/// What is waited for.
enum WaitGoal: String, ExpressibleByArgument, CaseIterable {
  case ready, gone
}

extension Coordinator {
  /// A disk that is cleaned by writing all of it takes days.
  private static let asLongAsItTakes: Int64 = 30 * 86400

  /// Follows the claim until the goal; answers its last state, or nil if it was gone before the watch began. A claim of
  /// the same name with another uid is somebody's new one: ours is gone.
  ///
  /// - Parameter limit: nil: for as long as it takes.
  func claim(named name: String, uid: String, reaches goal: WaitGoal, within limit: WaitLimit?) async throws -> Claim? {
    var wait = ClaimWait(name: name, uid: uid, goal: goal)
    let seconds = limit.map { Int64($0.timeout) } ?? Self.asLongAsItTakes
    do {
      try await followClaims(named: name, until: .now + .seconds(seconds)) { try wait.goesOn(after: $0) }
      return wait.last
    } catch let error as RPCError where error.code == .deadlineExceeded {
      printToStandardError(
        "iov: claim '\(name)' is not \(goal.rawValue) after \(seconds) s; it stays: iov claim get \(name)")
      throw ExitCode.timedOut
    }
  }
}

/// One claim on its way to a goal; says each new state once.
private struct ClaimWait {
  let name: String
  let uid: String
  let goal: WaitGoal
  private(set) var last: Claim?
  private var said = ""

  init(name: String, uid: String, goal: WaitGoal) {
    self.name = name
    self.uid = uid
    self.goal = goal
  }

  mutating func goesOn(after event: ClaimEvent) throws -> Bool {
    guard let claim = event.claim, claim.uid == uid else {
      // All that exists has been told, and it was not among it.
      return event.kind == .synced && last == nil ? try isGone() : true
    }
    last = claim
    say(claim)
    if event.kind == .gone { return try isGone() }
    guard goal == .ready else { return true }
    if claim.status?.phase == .ready { return false }
    if let error = claim.status?.error, error.permanent {
      throw RPCError(
        .failedPrecondition,
        "\(error.summary)\niov: the claim stays and is tried again; release it with: iov claim delete \(name)")
    }
    return true
  }

  private func isGone() throws -> Bool {
    guard goal == .gone else { throw RPCError(.notFound, "claim '\(name)' is gone; it was deleted meanwhile") }
    return false
  }

  private mutating func say(_ claim: Claim) {
    var line = claim.status?.phase.word ?? "-"
    if let reason = claim.status?.pending.first { line += ": \(reason.message)" }
    if let error = claim.status?.error { line += ": \(error.summary)" }
    guard line != said else { return }
    said = line
    printToStandardError("\(claim.name): \(line)")
  }
}
