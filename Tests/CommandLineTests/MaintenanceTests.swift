import Services
import Testing

@testable import iov

@Suite struct MaintenanceCommandTests {
  @Test func cordonsAndUncordons() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let node = try #require(fake.world.withLock { $0.endNodes.first?.name })
    let cordoned = try await fake.iov("endnode", "cordon", node, "--reason", "a fan is broken")
    #expect(cordoned.output == "end node \(node) is cordoned: a fan is broken\n")
    #expect(try await fake.iov("endnode", "list").output.contains(", cordoned"))
    #expect(try await fake.iov("endnode", "describe", node).output.contains("a fan is broken"))
    #expect(try await fake.iov("status").output.contains("end node \(node): cordoned: a fan is broken"))
    #expect(try await fake.iov("endnode", "uncordon", node).output == "end node \(node) takes new functions\n")
    #expect(try await fake.iov("host", "cordon", "host-a").output == "host host-a is cordoned\n")
    #expect(try await fake.iov("host", "list").output.contains(", cordoned"))
    #expect(try await fake.iov("host", "undrain", "host-a").output == "host host-a takes new functions\n")
    #expect(try await fake.iov("host", "cordon", "host-x").code == 2)
  }

  @Test func drainsSayWhatIsLeft() async throws {
    let fake = try await FakeCoordinator { world in
      world.fillWithSample()
      world.remaining = [
        DrainRemainder {
          $0.claim = "data"
          $0.function = "sata/S1/7"
          $0.why = "what 'data' has on a disk would be lost"
          $0.stays = true
        }
      ]
    }
    let run = try await fake.iov("host", "drain", "host-a", "--deadline", "10m", "--reason", "firmware", "--force")
    #expect(run.code == 0)
    #expect(run.output.contains("host host-a is being drained: firmware\n1 left; 0 moved, 0 evicted\n"))
    #expect(run.output.contains("what 'data' has on a disk would be lost"))
    let request = fake.world.withLock { $0.drains.last }
    #expect(request?.deadlineMilliseconds == 600_000)
    #expect(request?.force == true && request?.evict == false && request?.discardData == false)
    // What stays is not waited for.
    let waited = try await fake.iov("host", "drain", "host-a", "--evict", "--wait")
    #expect(waited.code == 1)
    #expect(waited.errors.contains("what is left does not go by itself"))
    fake.world.withLock { $0.remaining[0].stays = false }
    let given = try await fake.iov("host", "drain", "host-a", "--evict", "--wait", "--timeout", "0")
    #expect(given.code == 4 && given.errors.contains("is not drained after 0 s; the drain goes on"))
    #expect(try await code(fake, ["host", "drain", "host-a", "--timeout", "5"]) == 64)
    fake.world.withLock { $0.remaining[0].stays = true }
    _ = try await fake.iov("host", "drain", "host-a")
    #expect(try await fake.iov("status").output.contains("host host-a is being drained, and 1 functions stay"))
    #expect(try await fake.iov("host", "describe", "host-a").output.contains("Has yet to leave:"))
    for words in [["--deadline", "ten"], ["--deadline", "10m", "--evict"]] {
      #expect(try await code(fake, ["host", "drain", "host-a"] + words) == 64)
    }
  }

  @Test func howManyFunctionsADeviceMakesIsSet() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let node = try #require(fake.world.withLock { $0.endNodes.first?.name })
    fake.world.withLock { world in
      var physicalFunction = world.endNodes[0].physicalFunction ?? PhysicalFunction()
      physicalFunction.functionCount = FunctionCount {
        ($0.maximum, $0.present, $0.settable) = (8, 2, true)
      }
      world.endNodes[0].physicalFunction = physicalFunction
    }
    let begun = try await fake.iov("endnode", "set-functions", node, "4")
    #expect(begun.output == "end node \(node) is to make 4 functions of its own, and has 2\n" && begun.code == 0)
    let made = try await fake.iov("endnode", "set-functions", node, "6", "--wait")
    #expect(made.output == "end node \(node) is to make 6 functions of its own, and has 6\n" && made.code == 0)
    let described = try await fake.iov("endnode", "describe", node).output
    #expect(described.contains("6 of at most 8") && described.contains("6, set by an operator"))
    // Fewer are a success only where nobody waits for them.
    fake.world.withLock { $0.mostFunctions = 3 }
    let fewer = try await fake.iov("endnode", "set-functions", node, "8", "--wait", "--timeout", "60")
    #expect(fewer.output == "end node \(node) is to make 8 functions of its own, and has 3: the driver made 3\n")
    #expect(fewer.code == 1)
    let never = try await fake.iov("endnode", "set-functions", node, "7", "--wait", "--timeout", "0")
    #expect(never.code == 4 && never.errors.contains("has not made them after 0 s; they stay wanted"))
    let back = try await fake.iov("endnode", "set-functions", node, "--as-configured", "--wait")
    #expect(
      back.output
        == "end node \(node) is to make as many functions of its own as its plugin's configuration says, and has 3\n")
    #expect(back.code == 0)
    #expect(try await fake.iov("endnode", "set-functions", "host-x/eth9", "1").code == 2)
    for words in [[], ["4", "--as-configured"], ["-1"], ["many"], ["4", "--timeout", "5"]] {
      #expect(try await code(fake, ["endnode", "set-functions", node] + words) == 64, "\(words)")
    }
  }

  private func code(_ fake: FakeCoordinator, _ words: [String]) async throws -> Int32 {
    try await run(fake.arguments(words)).code
  }

  @Test(arguments: [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000), ("5ms", 5)])
  func timesAreReadAsPeopleWriteThem(text: String, milliseconds: UInt64) {
    #expect(TimeSpan(argument: text)?.milliseconds == milliseconds)
  }

  @Test(arguments: ["", "s", "10", "-1s", "+1s", "1.5h", "99999999999999999999d", "9999999999999999d"])
  func otherTimesAreNot(text: String) { #expect(TimeSpan(argument: text) == nil) }

  @Test func claimsAreEvicted() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let run = try await fake.iov("claim", "evict", "web", "--reason", "somebody needs it")
    #expect(run.code == 0)
    #expect(run.output.contains("was evicted: somebody needs it"))
    #expect(try await fake.iov("claim", "evict", "wep").code == 2)
  }

  // MARK: Taints

  @Test func taintsAreSetAndTakenOff() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let run = try await fake.iov("host", "taint", "host-a", "slow=disk:no-schedule", "fan-", "old:no-execute-")
    #expect(run.code == 0, "\(run.errors)")
    let request = fake.world.withLock { $0.taints.last }
    #expect(request?.set.map(\.words) == ["slow=disk:no-schedule"])
    #expect(request?.remove.map(\.words) == ["fan", "old:no-execute"])
    for wrong in ["slow", "slow:never", ":no-schedule", "a=b=c:no-schedule", "-"] {
      #expect(TaintArgument(argument: wrong) == nil, "\(wrong)")
    }
  }

  @Test(arguments: ["slow", "slow=disk", "slow=:no-schedule", "slow:no-execute:300", "*", "*:no-execute"])
  func tolerationsAreReadAsTheyAreShown(text: String) {
    #expect(TolerationOption(argument: text)?.toleration.words == text)
  }

  @Test(arguments: [
    "", ":no-schedule", "slow:no-schedule:300", "slow:no-execute:", "*=disk", "a:b", "a:no-execute:1:2",
  ])
  func otherTolerationsAreNot(text: String) { #expect(TolerationOption(argument: text) == nil) }

  @Test func movesAreShownByName() async throws {
    let fake = try await FakeCoordinator { world in
      world.fillWithSample()
      world.rebalance = RebalanceAnswer {
        $0.moves = [
          Move {
            $0.claim = "web"
            $0.fromEndNode = "ethernet/1"
            $0.toEndNode = "ethernet/2"
          }
        ]
        $0.loads = ["1", "2"].map { number in
          EndNodeLoad {
            $0.endNode = "ethernet/\(number)"
            $0.name = "host-\(number)/eth1"
            $0.functions = 3
          }
        }
        $0.fixed = 2
      }
    }
    let run = try await fake.iov("rebalance", "--class", "ethernet", "--plan")
    #expect(run.code == 0)
    #expect(run.output.contains("web    host-1/eth1  host-2/eth1"))
    #expect(run.output.contains("2 functions: their claims do not allow it"))
    #expect(fake.world.withLock { $0.rebalances.last?.planOnly } == true)
    #expect(try await fake.iov("rebalance", "--class", "ethernet", "--plan", "--stop").code == 64)
  }
}
