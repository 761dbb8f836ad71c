import ArgumentParser
import Configuration
import Services

/// What both commands on files of claims take.
struct ClaimFileOptions: ParsableArguments {
  @Flag(
    help: "Release claims that cannot be changed in place, and make them anew; what is on a disk of theirs is lost.")
  var replace = false
}

extension ClaimCommand {
  struct Plan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what applying a file of claims would come to, and change nothing.",
      discussion: """
        The coordinator decides as it would for `iov claim apply`, and takes it back: which end node, path and host each claim gets, \
        what waits and why, and what it does to others. The plan's revision, given to `iov claim apply --plan-revision`, has \
        just this plan carried out, or nothing if something has changed since.
        """)

    @Argument(help: "The file; - is standard input.", completion: .file()) var file: String
    @OptionGroup var options: ClaimFileOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
      let file = try readClaims(file)
      try await withCoordinator(common.connection) { coordinator in
        let plan = try await coordinator.plan(file, replace: options.replace)
        let stay = try await coordinator.linesOfMembersThatStay(beside: plan)
        common.output.show(plan) {
          for line in plan.lines(file) + stay { print(line) }
          print("\nplan revision \(plan.revision)")
        }
        guard plan.refused.isEmpty else { throw ExitCode.refused }
      }
    }
  }

  struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Have claims be as a file says: makes new ones, and changes rates in place.",
      discussion: """
        The file holds documents of YAML or JSON, each a claim or a list of claims, as `iov claim get -o yaml` and `iov claim \
        list -o yaml` print them. Shows first what would change, and asks; scripts give --yes. It is one decision: if one claim is refused, \
        none is changed. A claim that cannot be changed in place is refused unless --replace is given. Claims that the file does not name \
        stay as they are.

        What was shown is what is done: if it would come to something else by the time of the answer, nothing is done, and the exit code \
        is 5. With --plan-revision, of a plan of `iov claim plan`, nothing at all may have changed in the cluster.
        """)

    @Option(name: .shortAndLong, help: "The file; - is standard input.", completion: .file()) var file: String
    @OptionGroup var options: ClaimFileOptions
    @Option(help: ArgumentHelp("Carry out this plan, or nothing.", valueName: "revision")) var planRevision: String?
    @OptionGroup var confirmation: ConfirmationOptions
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var common: CommonOptions

    func run() async throws {
      let file = try readClaims(file)
      try await withCoordinator(common.connection) { coordinator in
        let plan = try await coordinator.plan(file, replace: options.replace)
        let stay = try await coordinator.linesOfMembersThatStay(beside: plan)
        let lines = plan.lines(file) + stay
        guard plan.refused.isEmpty else {
          for line in lines { printToStandardError(line) }
          if let planRevision, planRevision != plan.revision { throw StalePlan(planRevision, refusedBy: plan).tell() }
          printToStandardError("iov: nothing was done")
          throw ExitCode.refused
        }
        if plan.changesSomething {
          try confirmation.confirm(typing: "yes", lines)
        } else {
          for line in stay { printToStandardError(line) }
        }
        var done: ClaimPlan
        if plan.changesSomething, !confirmation.yes, planRevision == nil {
          done = try await coordinator.apply(file, replace: options.replace, asShown: plan)
        } else {
          done = try await coordinator.apply(
            file.claims, replace: options.replace, revision: planRevision ?? "", replacing: plan.replaced)
        }
        let replaced = done.claims.filter { $0.action == .replace }
        if !replaced.isEmpty {
          // Cleaning a disk takes its time, and nobody else makes them anew.
          printToStandardError(
            "iov: released, and made anew once the hosts have let go: \(replaced.map(\.name).joined(separator: ", ")); should this command be "
              + "broken off before that, apply the file once more")
          for claim in replaced { try await coordinator.waitUntilGone(claim) }
          done = try await coordinator.apply(file.claims, replace: false, revision: "")
        }
        if waiting.wait { try await coordinator.waitUntilReady(&done, within: waiting.limit) }
        common.output.show(done) { done.printClaims() }
      }
    }
  }
}

private func readClaims(_ path: String) throws -> ClaimFile {
  do {
    return try ClaimFile(path: path)
  } catch {
    printToStandardError("iov: \(error)")
    throw ExitCode.refused
  }
}

extension ClaimPlan {
  fileprivate var replaced: Set<String> { Set(claims.filter { $0.action == .replace }.map(\.name)) }

  /// Of a plan that was made after a call that broke off: what that call has answered, if it was carried out; nil if it was not. It
  /// releases all that is to be replaced or nothing, and of nothing else in the file anything was being released before it.
  fileprivate func answer(releasing names: Set<String>) -> ClaimPlan? {
    guard !names.isEmpty, claims.allSatisfy({ !names.contains($0.name) || $0.isReleased }) else { return nil }
    var plan = self
    for index in plan.claims.indices where names.contains(plan.claims[index].name) {
      plan.claims[index].action = .replace
      plan.claims[index].refusal = ""
      if !plan.claims[index].isReleasing { plan.claims[index].claim = nil }
    }
    return plan
  }

  func printClaims() { printTable([Claim.tableHeading] + claims.compactMap { $0.claim?.tableRow }) }
}

extension PlannedClaim {
  fileprivate var isReleasing: Bool { claim?.status?.phase == .releasing }

  /// Of one that was to be replaced. Its hosts let go of it, or have done so: then it is a new one, if nothing is in its way, or somebody
  /// has made it as the file says.
  fileprivate var isReleased: Bool {
    action == .create || action == .unchanged || (action == .refuse && (claim == nil || isReleasing))
  }
}

extension ExitCode {
  static let stalePlan = ExitCode(5)
}

/// Something has changed since the plan.
struct StalePlan: Error {
  var message: String
  /// A call before was broken off.
  var mayBeDone: Bool

  init(message: String, mayBeDone: Bool) {
    self.message = message
    self.mayBeDone = mayBeDone
  }

  /// It stays one where the new plan is refused: who plans anew sees why.
  fileprivate init(_ revision: String, refusedBy plan: ClaimPlan) {
    message =
      "the plan was made on the revision \(revision), and the state is at \(plan.revision) by now, where it is refused, as above: nothing was "
      + "done; make a new plan"
    mayBeDone = false
  }

  fileprivate func tell() -> ExitCode {
    printToStandardError("iov: \(message)")
    if mayBeDone { printToStandardError("iov: a call before was broken off, and may have been carried out") }
    return .stalePlan
  }
}

extension Coordinator {
  private static var mostPlans: Int { 16 }

  /// Carries out what a person has seen and said yes to. In a cluster that is in use something has always changed by then: what comes to
  /// the same after that is what was seen.
  func apply(_ file: ClaimFile, replace: Bool, asShown shown: ClaimPlan) async throws -> ClaimPlan {
    let lines = shown.linesOfEffects(file)
    var revision = shown.revision
    for _ in 1..<Self.mostPlans {
      do {
        return try await apply(
          file.claims, replace: replace, planRevision: revision, replacing: shown.replaced)
      } catch let stale as StalePlan where !stale.mayBeDone {
        let plan = try await plan(file, replace: replace)
        guard plan.linesOfEffects(file) == lines else { throw stale.tell() }
        revision = plan.revision
      } catch let stale as StalePlan {
        throw stale.tell()
      }
    }
    return try await apply(file.claims, replace: replace, revision: revision, replacing: shown.replaced)
  }

  fileprivate func plan(_ file: ClaimFile, replace: Bool) async throws -> ClaimPlan {
    let request = ApplyClaimsRequest {
      $0.claims = file.claims
      $0.replace = replace
    }
    return try await ask { try await claims.planClaims(request, options: .command) }
  }

  /// - Parameter names: the claims that are replaced by it.
  func apply(
    _ wanted: [CreateClaimRequest], replace: Bool, revision: String, replacing names: Set<String> = []
  ) async throws -> ClaimPlan {
    do {
      return try await apply(wanted, replace: replace, planRevision: revision, replacing: names)
    } catch let stale as StalePlan {
      throw stale.tell()
    }
  }

  /// A call that is carried out and broken off makes its own repetition a stale one, or one that is refused: what is to be replaced is being
  /// released then, and nobody else makes it anew.
  private func apply(
    _ wanted: [CreateClaimRequest], replace: Bool, planRevision: String, replacing names: Set<String>
  ) async throws -> ClaimPlan {
    let request = ApplyClaimsRequest {
      $0.claims = wanted
      $0.replace = replace
      $0.planRevision = planRevision
    }
    do {
      return try await ask { isAgain in
        do {
          return try await claims.applyClaims(request, options: .command)
        } catch let error as RPCError where error.code == .aborted || (isAgain && error.code == .failedPrecondition) {
          if isAgain, !names.isEmpty,
            let answer = try await claims.planClaims(request, options: .command).answer(releasing: names)
          {
            return answer
          }
          guard error.code == .aborted else { throw error }
          throw StalePlan(message: error.message, mayBeDone: isAgain)
        }
      }
    } catch let error as RPCError where !names.isEmpty && ExitCode(error.code) == .unreachable {
      printToStandardError(
        "iov: there was no answer, and these may have been released: \(shortList(names.sorted())); apply the file once more, which makes "
          + "them anew")
      throw error
    }
  }

  /// Of groups that are there: a file changes the members that it names, and cannot take others out.
  fileprivate func linesOfMembersThatStay(beside plan: ClaimPlan) async throws -> [String] {
    let named = Set(plan.claims.map(\.name))
    var lines: [String] = []
    for group in Set(plan.claims.compactMap { $0.former?.group }).subtracting([""]).sorted() {
      let others = try await members(of: group).map(\.name).filter { !named.contains($0) }
      guard !others.isEmpty else { continue }
      lines.append(
        "group \(group) also has \(shortList(others)), which the file does not name: they stay, as a group keeps the members that it was "
          + "made with")
    }
    return lines
  }

  fileprivate func waitUntilGone(_ planned: PlannedClaim) async throws {
    guard let uid = planned.claim?.uid else { return }
    _ = try await claim(named: planned.name, uid: uid, reaches: .gone, within: nil)
  }

  func waitUntilReady(_ plan: inout ClaimPlan, within limit: WaitLimit) async throws {
    for (index, planned) in plan.claims.enumerated() {
      guard let present = planned.claim, present.status?.phase != .ready else { continue }
      plan.claims[index].claim =
        try await claim(named: planned.name, uid: present.uid, reaches: .ready, within: limit) ?? present
    }
  }
}
