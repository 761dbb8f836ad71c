import ArgumentParser
import Services

struct WaitOptions: ParsableArguments {
  @Flag(help: "Wait until it is done, with progress on standard error.") var wait = false

  @Option(help: ArgumentHelp("Give up waiting after this many seconds; the claim stays.", valueName: "seconds"))
  var timeout: UInt32 = 60

  enum Goal: String {
    case ready, gone
  }

  /// Follows the claim until the goal; answers its last state, or nil if it was gone before the watch began. A claim of
  /// the same name with another uid is somebody's new one: ours is gone.
  func claim(named name: String, uid: String, from client: ClaimsClient, until goal: Goal) async throws -> Claim? {
    var progress = Progress()
    do {
      let events = try await client.watchClaims(
        WatchClaimsRequest { $0.name = name }, options: CallOptions(timeout: .seconds(Int64(timeout))))
      for try await event in events {
        guard let claim = event.claim, claim.uid == uid else {
          if goal == .gone, event.kind == .synced, !progress.sawClaim { return nil }
          continue
        }
        progress.show(claim)
        if event.kind == .gone {
          guard goal == .gone else { throw RPCError(.notFound, "claim '\(name)' was deleted while waiting for it") }
          return claim
        }
        if goal == .ready, claim.status?.phase == .ready { return claim }
        if goal == .ready, let error = claim.status?.error, error.permanent {
          throw RPCError(
            .failedPrecondition,
            "\(error.summary)\niov: the claim stays and is tried again; release it with: iov claim delete \(name)")
        }
      }
      throw RPCError(.unavailable, "the coordinator ended the watch; see: iov claim get \(name)")
    } catch let error as RPCError where error.code == .deadlineExceeded {
      printToStandardError(
        "iov: claim '\(name)' is not \(goal.rawValue) after \(timeout) s; it stays: iov claim get \(name)")
      throw ExitCode.timedOut
    }
  }

  /// Says each new state once.
  private struct Progress {
    private(set) var sawClaim = false
    private var last = ""

    mutating func show(_ claim: Claim) {
      sawClaim = true
      var line = claim.status?.phase.word ?? "-"
      if let reason = claim.status?.pending.first { line += ": \(reason.message)" }
      if let error = claim.status?.error { line += ": \(error.summary)" }
      guard line != last else { return }
      last = line
      printToStandardError("\(claim.name): \(line)")
    }
  }
}
