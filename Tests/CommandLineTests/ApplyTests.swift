import Configuration
import Messages
import Services
import Testing

@testable import iov

/// Files of claims: how they are read, shown and applied.
@Suite(.timeLimit(.minutes(1))) struct ApplyTests {
  private func read(_ text: String) throws(ConfigurationError) -> ClaimFile {
    try ClaimFile(YAMLDocument.parse(text, named: "web.yaml"), named: "web.yaml")
  }

  private let two = """
    name: one
    specification: {deviceClass: ethernet, host: a}
    ---
    claims:
    - name: two
      specification:
        deviceClass: sata
        host: b
        attributes: {block: {sizeBytes: "1048576"}}
    """

  @Test func aFileHoldsDocumentsAndLists() throws {
    let file = try read(two)
    #expect(file.claims.map(\.name) == ["one", "two"])
    #expect(file.places == ["one": "web.yaml:1", "two": "web.yaml:5"])
    #expect(file.claims[1].specification?.attributes?.block?.sizeBytes == 1_048_576)
    let json =
      #"[{"name": "one", "specification": {"deviceClass": "sas", "host": "a", "allowedPaths": ["PATH_DIRECT"]}}]"#
    #expect(try read(json).claims.first?.specification?.allowedPaths == [.direct])
  }

  @Test func whatIsPrintedIsRead() throws {
    let claim = Claim {
      $0.name = "web"
      $0.uid = "uid"
      $0.revision = 7
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = "a"
        $0.consumer = Consumer { $0.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "web" }) }
      }
      $0.status = ClaimStatus {
        $0.phase = .ready
        $0.decision = PlacementDecision { $0.preference = 2 }
      }
    }
    #expect(try read(YAMLEmitter.document(JSONTree(claim))).claims.first?.specification == claim.specification)
    let list = ListClaimsResponse { $0.claims = [claim] }
    #expect(try read(YAMLEmitter.document(JSONTree(list))).claims.first?.specification == claim.specification)
  }

  @Test(arguments: [
    (
      "name: one\nspecification: {hosst: a}",
      "web.yaml:2: 'specification' has the value a group of keys: unknown field 'hosst'"
    ),
    (
      "name: one\nspecification:\n  attributes: {ethernet: {mtu: x}}",
      "web.yaml:3: 'specification.attributes.ethernet.mtu' "
    ),
    ("\nspecification: {}", "web.yaml:2: a claim without a 'name' begins here"),
    ("name: one", "web.yaml:1: claim 'one' has no 'specification'"),
    (
      "name: one\nspecification: {}\n---\nname: one\nspecification: {}",
      "web.yaml:4: claim 'one' stands twice, first at web.yaml:1"
    ),
    ("claims: 3", "web.yaml:1: 'claims' must be a list"), ("", "web.yaml: there is no claim in it"),
  ])
  func aMistakeIsNamedWithItsPlace(text: String, expected: String) {
    do throws(ConfigurationError) {
      _ = try read(text)
      Issue.record("it was read")
    } catch {
      #expect(error.description.hasPrefix(expected), "\(error)")
    }
  }

  /// What is on a disk goes with it; a network's function holds nothing.
  @Test func aPlanSaysWhoseDataGoes() throws {
    let plan = ClaimPlan { plan in
      plan.claims = ["sata", "ethernet"].map { deviceClass in
        PlannedClaim {
          $0.name = "new-\(deviceClass)"
          $0.action = .replace
          $0.former = ClaimSpecification { $0.deviceClass = deviceClass }
          $0.claim = Claim { $0.status = ClaimStatus { $0.phase = .releasing } }
        }
      }
      plan.others = ["sata", "ethernet"].map { deviceClass in
        PlannedClaim {
          $0.name = "other-\(deviceClass)"
          $0.claim = Claim {
            $0.specification = ClaimSpecification { $0.deviceClass = deviceClass }
            $0.status = ClaimStatus { $0.phase = .reclaiming }
          }
        }
      }
    }
    let file = try read(two)
    #expect(
      plan.lines(file) == [
        "! new-sata: is released, with the data on its disk, and made anew: is released",
        "! new-ethernet: is released and made anew: is released",
        "* other-sata, which is not in the file: lets go of what it has, with the data on it",
        "* other-ethernet, which is not in the file: lets go of what it has",
      ])
  }

  private func plan(_ change: (inout ClaimPlan) -> Void = { _ in }) -> ClaimPlan {
    ClaimPlan {
      $0.revision = "3.7.1"
      $0.claims = [
        PlannedClaim {
          $0.name = "one"
          $0.action = .update
          $0.former = ClaimSpecification { $0.deviceClass = "ethernet" }
          $0.specification = ClaimSpecification {
            $0.deviceClass = "ethernet"
            $0.attributes = Attributes { $0.ethernet = EthernetAttributes { $0.maxReceiveBitsPerSecond = 5 } }
          }
        },
        PlannedClaim {
          $0.name = "two"
          $0.action = .create
          $0.claim = Claim {
            $0.name = "two"
            $0.status = ClaimStatus {
              $0.phase = .pending
              $0.pending = ["all 2 functions of a/eth1 are in use", "b/eth1 is cordoned"].map { message in
                PendingReason { $0.message = message }
              }
            }
          }
        },
      ]
      change(&$0)
    }
  }

  @Test func aPlanIsShownAndChangesNothing() async throws {
    let plan = plan()
    let coordinator = try await FakeCoordinator { $0.plan = plan }
    let run = try await coordinator.iov("claim", "plan", "-", input: two)
    #expect(
      run.output == """
        ~ one: changes in place
            specification.attributes.ethernet.maxReceiveBitsPerSecond: not set -> 5
        + two: new: waits: all 2 functions of a/eth1 are in use
            b/eth1 is cordoned

        plan revision 3.7.1

        """)
    #expect(run.code == 0 && coordinator.world.withLock { $0.calls } == ["planClaims"])
  }

  @Test func aPlanSaysWhatOthersHaveInTheEnd() async throws {
    let plan = plan {
      $0.claims.removeFirst()
      $0.claims[0].later = Claim { $0.status = .granted("ethernet/1", on: "a") }
      $0.others = [
        PlannedClaim {
          $0.name = "low"
          $0.claim = Claim { $0.status = .granted("ethernet/1", on: "b") }
          $0.later = Claim {
            $0.status = ClaimStatus {
              $0.phase = .pending
              $0.pending = [PendingReason { $0.message = "was evicted" }]
            }
          }
        }
      ]
    }
    let coordinator = try await FakeCoordinator { $0.plan = plan }
    let run = try await coordinator.iov("claim", "plan", "-", input: two)
    #expect(
      run.output == """
        + two: new: waits: all 2 functions of a/eth1 are in use
            b/eth1 is cordoned
            then: ethernet/1 on a by the path direct
        * low, which is not in the file: ethernet/1 on b by the path direct
            then: waits: was evicted

        plan revision 3.7.1

        """)
  }

  @Test func itIsAppliedOnceSomebodyHasSaidYes() async throws {
    let plan = plan()
    let coordinator = try await FakeCoordinator { $0.plan = plan }
    let unasked = try await coordinator.iov("claim", "apply", "-f", "-", input: two)
    #expect(unasked.code == 1 && unasked.errors.contains("~ one: changes in place"))
    #expect(unasked.errors.contains("there is no terminal to ask for confirmation on; give --yes"))
    #expect(coordinator.world.withLock { $0.applied.isEmpty })
    let run = try await coordinator.iov("claim", "apply", "-f", "-", "--yes", input: two)
    #expect(run.code == 0)
    #expect(coordinator.world.withLock { $0.applied.map { $0.claims.map(\.name) } } == [["one", "two"]])
  }

  @Test func severalFunctionsAreAskedForAsAGroup() async throws {
    let coordinator = try await FakeCoordinator()
    let run = try await coordinator.iov(
      "claim", "create", "train", "--class", "ethernet", "--host", "a", "--count", "2", "--priority", "3")
    #expect(run.code == 0)
    let asked = try #require(coordinator.world.withLock { $0.applied }.first)
    #expect(asked.claims.map(\.name) == ["train-1", "train-2"])
    #expect(asked.claims.map { $0.specification?.group } == ["train", "train"])
    #expect(asked.claims.map { $0.specification?.priority } == [3, 3])
    let none = try await coordinator.iov("claim", "create", "t", "--class", "ethernet", "--host", "a", "--count", "0")
    #expect(none.code != 0 && none.errors.contains("--count 0: a group has at least one member"))
    let many = try await coordinator.iov(
      "claim", "create", "t", "--class", "ethernet", "--host", "a", "--count", "1000000000")
    #expect(many.code == 64 && many.errors.contains("at most 256"))
  }

  private func train(_ phase: ClaimPhase = .ready) -> [Claim] {
    (1...4).map { number in
      Claim {
        $0.name = "train-\(number)"
        $0.specification = ClaimSpecification { $0.group = "train" }
        $0.status = ClaimStatus { $0.phase = phase }
      }
    }
  }

  @Test func aGroupIsNotAskedToHaveFewerMembers() async throws {
    let coordinator = try await FakeCoordinator { $0.claims = train() }
    let words = ["claim", "create", "train", "--class", "ethernet", "--host", "a", "--count"]
    let run = try await coordinator.iov(words + ["2"])
    let expected =
      "iov: group 'train' keeps the 4 members that it was made with, train-1, train-2, train-3, train-4, and --count 2 asks for fewer: "
      + "nothing was done; ask for all of them, or delete it and make it anew: iov claim delete train-1 --whole-group\n"
    #expect(run.code == 1 && run.errors == expected)
    #expect(coordinator.world.withLock { $0.applied.isEmpty })
    #expect(try await coordinator.iov(words + ["4"]).code == 0)
    // Of one that is being released the coordinator says so.
    coordinator.world.withLock { $0.claims = train(.releasing) }
    #expect(try await coordinator.iov(words + ["2"]).code == 0)
    #expect(coordinator.world.withLock { $0.applied.map(\.claims.count) } == [4, 2])
  }

  @Test func membersThatAFileDoesNotNameAreToldOf() async throws {
    let plan = ClaimPlan { plan in
      plan.revision = "3.7.1"
      plan.claims = ["train-1", "train-2"].map { name in
        PlannedClaim {
          $0.name = name
          $0.action = .unchanged
          $0.former = ClaimSpecification { $0.group = "train" }
        }
      }
    }
    let coordinator = try await FakeCoordinator { world in
      world.plan = plan
      world.claims = train()
    }
    let line =
      "group train also has train-3, train-4, which the file does not name: they stay, as a group keeps the members that it was made with"
    let shown = try await coordinator.iov("claim", "plan", "-", input: two)
    #expect(shown.lines == ["= train-1: unchanged", "= train-2: unchanged", line, "plan revision 3.7.1"])
    let run = try await coordinator.iov("claim", "apply", "-f", "-", "--yes", input: two)
    #expect(run.code == 0 && run.errors == line + "\n")
    coordinator.world.withLock { $0.plan.claims[0].action = .update }
    let changed = try await coordinator.iov("claim", "apply", "-f", "-", "--yes", input: two)
    #expect(changed.code == 0 && changed.errors.hasSuffix("= train-2: unchanged\n\(line)\n"))
  }

  // MARK: Calls that break off

  private static let stillReleased = "it is being released; apply again once it is gone"

  /// `one` is to be replaced, and `two` is new.
  private func replacement() -> ClaimPlan { plan { $0.claims[0].action = .replace } }

  /// The coordinator commits, and begins anew before it answers: it knows of a claim that is being released, and of no call.
  @Test(arguments: [nil, "3.7.1"])
  func whatACallThatBrokeOffHasReleasedIsMadeAnew(planRevision: String?) async throws {
    let plan = replacement()
    let coordinator = try await FakeCoordinator { world in
      world.plan = plan
      world.lostAnswers = ["applyClaims": 1]
      world.onApply = { world, _ in
        let former = Claim {
          $0.name = "one"
          $0.uid = "former"
          $0.status = ClaimStatus { $0.phase = .releasing }
        }
        switch (world.applied.count, world.watchRequests.isEmpty) {
        case (0, _):
          world.claims = [former]
          world.plan.revision = "4.8.0"
          world.plan.claims[0].action = .refuse
          world.plan.claims[0].refusal = Self.stillReleased
          world.plan.claims[0].claim = former
          // It goes once somebody waits for it.
          world.events = [world.event(.gone, former, revision: 9)]
        case (_, true): throw RPCError(.failedPrecondition, "nothing was done. claim 'one': \(Self.stillReleased)")
        case (_, false): world.claims = []
        }
      }
    }
    let revision = planRevision.map { ["--plan-revision", $0] } ?? []
    let run = try await coordinator.iov(["claim", "apply", "-f", "-", "--replace", "--yes"] + revision, input: two)
    #expect(run.code == 0 && !run.errors.contains("nothing was done"), "\(run.errors)")
    #expect(run.errors.contains("iov: released, and made anew once the hosts have let go: one; should"))
    #expect(coordinator.world.withLock { $0.applied.map(\.replace) } == [true, false])
    #expect(coordinator.world.withLock { $0.applied.map(\.planRevision) } == [planRevision ?? "", ""])
  }

  /// All that is replaced is released at once: where only some is, somebody else has deleted that.
  @Test func whatSomebodyElseReleasesMeanwhileIsNotTakenForDone() async throws {
    let plan = plan {
      for index in $0.claims.indices { $0.claims[index].action = .replace }
    }
    let coordinator = try await FakeCoordinator { world in
      world.plan = plan
      world.onApply = { world, _ in
        guard world.plan.claims[0].action == .replace else {
          throw RPCError(.failedPrecondition, "nothing was done. claim 'one': \(Self.stillReleased)")
        }
        world.plan.claims[0].action = .refuse
        world.plan.claims[0].claim = Claim { $0.status = ClaimStatus { $0.phase = .releasing } }
        throw RPCError(.unavailable, "the coordinator is stopping")
      }
    }
    let run = try await coordinator.iov("claim", "apply", "-f", "-", "--replace", "--yes", input: two)
    #expect(run.code == 1 && run.errors.contains("iov: nothing was done. claim 'one': \(Self.stillReleased)"))
    #expect(!run.errors.contains("made anew once"))
    #expect(coordinator.world.withLock { $0.applied.isEmpty && $0.watchRequests.isEmpty })
  }

  @Test func whoHasNoAnswerIsToldWhatMayBeReleased() async throws {
    let plan = replacement()
    let coordinator = try await FakeCoordinator { world in
      world.plan = plan
      world.lostAnswers = ["applyClaims": 1]
    }
    let run = try await coordinator.iov(
      "claim", "apply", "-f", "-", "--replace", "--yes", "--connect-timeout", "0", input: two)
    #expect(run.code == 3 && run.errors.contains("these may have been released: one; apply the file once more"))
  }

  @Test func aGroupIsDeletedAsAWhole() async throws {
    let coordinator = try await FakeCoordinator { world in
      world.claims = ["one", "two"].map { name in
        Claim {
          $0.name = name
          $0.uid = "uid-\(name)"
          $0.specification = ClaimSpecification { $0.group = "train" }
        }
      }
    }
    let run = try await coordinator.iov("claim", "delete", "two", "--whole-group")
    #expect(run.code == 0)
    #expect(coordinator.world.withLock { $0.deletions.map(\.wholeGroup) } == [true])
  }

  @Test func aStalePlanHasAnExitCodeOfItsOwn() async throws {
    let plan = plan()
    let coordinator = try await FakeCoordinator { $0.plan = plan }
    let run = try await coordinator.iov(
      "claim", "apply", "-f", "-", "--yes", "--plan-revision", "3.6.1", input: two)
    #expect(run.code == 5 && run.errors.contains("iov: the plan is stale"))
    #expect(coordinator.world.withLock { $0.applied.isEmpty })
  }

  @Test func aStalePlanThatIsRefusedByNowIsStale() async throws {
    let plan = plan { $0.claims[1].refusal = "there is no host 'b'" }
    let coordinator = try await FakeCoordinator { $0.plan = plan }
    let stale = try await coordinator.iov(
      "claim", "apply", "-f", "-", "--yes", "--plan-revision", "3.6.1", input: two)
    #expect(stale.code == 5 && stale.errors.contains("x two: refused\n    standard input:5: there is no host 'b'\n"))
    #expect(
      stale.errors.contains("was made on the revision 3.6.1, and the state is at 3.7.1 by now, where it is refused"))
    let refused = try await coordinator.iov(
      "claim", "apply", "-f", "-", "--yes", "--plan-revision", "3.7.1", input: two)
    #expect(refused.code == 1 && refused.errors.hasSuffix("iov: nothing was done\n"))
    #expect(coordinator.world.withLock { $0.calls } == ["planClaims", "planClaims"])
  }

  @Test func whatComesToTheSameIsWhatWasShown() async throws {
    let shown = plan { $0.revision = "3.6.1" }
    let coordinator = try await FakeCoordinator { $0.plan = shown }
    coordinator.world.withLock { $0.plan.revision = "3.7.1" }
    let file = try read(two)
    let client = Coordinator(coordinator.endpoint, patience: Patience(seconds: 5))
    _ = try await client.apply(file, replace: false, asShown: shown)
    #expect(coordinator.world.withLock { $0.applied.map(\.planRevision) } == ["3.7.1"])

    coordinator.world.withLock { world in
      world.plan.revision = "3.8.1"
      world.plan.claims[0].action = .replace
    }
    await #expect(throws: (any Error).self) { try await client.apply(file, replace: false, asShown: shown) }
    #expect(coordinator.world.withLock { $0.applied.count } == 1)
    await client.channel.close()
  }

  @Test func whatIsRefusedIsNamedWithItsPlaceAndNothingIsDone() async throws {
    let plan = plan { $0.claims[1].refusal = "there is no host 'b'" }
    let coordinator = try await FakeCoordinator { $0.plan = plan }
    let run = try await coordinator.iov("claim", "apply", "-f", "-", "--yes", input: two)
    #expect(run.code == 1)
    #expect(run.errors.contains("x two: refused\n    standard input:5: there is no host 'b'\niov: nothing was done"))
    #expect(coordinator.world.withLock { $0.calls } == ["planClaims"])
  }

  @Test func anExplanationIsToldFilterByFilter() async throws {
    let explanation = ClaimExplanation {
      $0.claim = "web"
      $0.phase = .pending
      $0.summary = "it waits: none of 2 end nodes of class ethernet fits"
      $0.filters = [
        FilterExplanation {
          $0.filter = "functions"
          $0.dropped = 2
          $0.messages = ["all 2 functions of a/eth1 are in use"]
        }
      ]
      $0.nearest = [
        NearFit {
          $0.name = "a/eth1"
          $0.host = "b"
          $0.obstacles = [
            Obstacle {
              $0.filter = "functions"
              $0.message = "all 2 functions of a/eth1 are in use"
              $0.remedy = "one who has a part of it has to let go: x"
            }
          ]
        }
      ]
    }
    let coordinator = try await FakeCoordinator { world in
      world.explanation = explanation
      world.claims = [Claim { $0.name = "web" }]
    }
    let run = try await coordinator.iov("claim", "explain", "web")
    #expect(
      run.output == """
        web is pending: it waits: none of 2 end nodes of class ethernet fits

        FILTER     DROPPED  LEFT  WHY
        functions  2        0     all 2 functions of a/eth1 are in use

        Nearest: a/eth1 for b
          functions: all 2 functions of a/eth1 are in use (one who has a part of it has to let go: x)

        """)
    let json = try await coordinator.iov("claim", "explain", "web", "-o", "json")
    #expect(try Configuration.decode(ClaimExplanation.self, from: json.output, named: "x") == explanation)
    #expect(try await coordinator.iov("claim", "explain", "wbe").code == 2)
  }
}

extension ClaimStatus {
  fileprivate static func granted(_ endNode: String, on host: String) -> ClaimStatus {
    ClaimStatus {
      $0.phase = .preparing
      $0.assignment = Assignment {
        $0.endNode = endNode
        $0.host = host
        $0.path = .direct
      }
    }
  }
}
