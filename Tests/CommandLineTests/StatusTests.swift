import Configuration
import Services
import Testing

@testable import iov

@Suite struct StatusTests {
  private func rack(_ change: (inout Rack) -> Void = { _ in }) -> Rack {
    var world = FakeCoordinator.World()
    world.fillWithSample()
    var rack = Rack()
    rack.coordinator = CoordinatorStatus { $0.now = .now() }
    rack.hosts = world.hosts
    rack.endNodes = world.endNodes
    rack.claims = world.claims
    rack.functions = world.functions
    rack.orphans = []
    change(&rack)
    return rack
  }

  @Test func whatIsInOrderNeedsNobody() {
    let status = RackStatus(rack())
    #expect(status.attention.isEmpty)
    #expect(status.lines.last == "All is well.")
    let passing = RackStatus(rack { $0.claims += [.waiting("new", .preparing), .waiting("old", .releasing)] })
    #expect(passing.attention.isEmpty)
  }

  @Test func anUnhealthyFunctionNeedsSomebody() {
    var claim = Claim.waiting("sick", .ready)
    claim.status?.health = FunctionHealth {
      $0.state = .unhealthy
      $0.host = "host-a"
      $0.message = "eth1 has no carrier"
    }
    let status = RackStatus(rack { $0.claims.append(claim) })
    #expect(status.attention == ["claim sick is ready: its function is unhealthy: host-a: eth1 has no carrier"])
    #expect(claim.tableRow[3] == "ready, unhealthy")
    claim.status?.health = FunctionHealth { $0.state = .healthy }
    #expect(RackStatus(rack { $0.claims.append(claim) }).attention.isEmpty)
    #expect(claim.tableRow[3] == "ready")
  }

  @Test func whatIsNotInOrderIsSaidWithWhatToDo() {
    let status = RackStatus(
      rack { rack in
        rack.hosts[1].state = .disconnected
        rack.hosts[1].lastSeen = Timestamp(seconds: rack.now.seconds - 300)
        rack.hosts[0].plugins[0].state = .failed
        rack.hosts[0].plugins[0].message = "exit code 3"
        rack.endNodes[0].health = Health {
          $0.state = .unhealthy
          $0.message = "no carrier"
        }
        rack.claims.append(.waiting("data", .pending, for: "no end node is of class sata"))
        rack.orphans = [.sample("eth-9-t1", on: "host-a")]
      })
    #expect(
      status.attention == [
        "host host-b is away for 5 min; if it is off: iov host confirm-dead host-b",
        "plugin ethernet of host host-a fails: exit code 3", "end node host-a/eth1 is unhealthy: no carrier",
        "claim data is pending: no end node is of class sata",
        "function eth-9-t1 on host-a has no claim: iov orphan adopt, or iov orphan purge",
      ])
    #expect(status.lines.last == "5 things need attention.")
  }

  @Test func aLargeRackStaysOnOneScreen() {
    let status = RackStatus(
      rack { rack in
        for number in 0..<500 {
          rack.hosts.append(.connected("n\(number)"))
          rack.hosts[rack.hosts.count - 1].state = .dead
          rack.claims.append(.waiting("c\(number)", .pending, for: "nothing fits"))
          rack.orphans?.append(.sample("f\(number)", on: "host-a"))
        }
      })
    #expect(status.lines.count < 45)
    #expect(status.lines.contains("! and 492 more like these"))
    #expect(status.attention.count == 1500)
  }

  @Test func theExitCodeSaysWhetherSomebodyIsNeeded() async throws {
    let coordinator = try await FakeCoordinator { $0.fillWithSample() }
    let well = try await coordinator.iov("status")
    #expect(well.code == 0, "\(well.errors)")
    #expect(well.output.contains("up 1 h 2 min"))
    coordinator.world.withLock { $0.hosts[0].state = .dead }
    let unwell = try await coordinator.iov("status")
    #expect(unwell.code == 1)
    #expect(unwell.lines.last == "1 thing needs attention.")
    let json = try await coordinator.iov("status", "-o", "yaml")
    #expect(json.code == 1)
    #expect(json.output.hasPrefix("attention:\n- 'host host-a is dead"))
  }

  @Test func anOlderCoordinatorHasAStatusToo() async throws {
    let coordinator = try await FakeCoordinator(hasOperations: false) { $0.fillWithSample() }
    let run = try await coordinator.iov("status")
    #expect(run.code == 0, "\(run.errors)")
    #expect(run.output.contains("older than this program"))
    #expect(run.output.contains("Orphans      not known"))
  }
}

@Suite struct DescriptionTests {
  private func coordinator(_ change: @Sendable (inout FakeCoordinator.World) -> Void = { _ in }) async throws
    -> FakeCoordinator
  {
    try await FakeCoordinator { world in
      world.fillWithSample()
      change(&world)
    }
  }

  @Test func aHostSaysWhatItHoldsServesAndWhoWaitsForIt() async throws {
    let coordinator = try await coordinator { world in
      world.hosts[0].state = .disconnected
      world.claims.append(
        .waiting("next", .pending, for: "host-a has yet to let go of eth-0011-t1; it is disconnected"))
      world.claims.append(.waiting("other", .pending, for: "waits for host-a2"))
      world.functions[0].reports[0].status?.error = FunctionError {
        $0.host = "host-a"
        $0.step = "serve"
        $0.message = "no such interface"
      }
    }
    let server = try await coordinator.iov("host", "describe", "host-a").output
    #expect(server.contains("State:"))
    #expect(server.contains("iov host confirm-dead host-a"))
    #expect(server.contains("Serves:\n"))
    #expect(!server.contains("Holds:"))
    #expect(server.contains("next   pending"))
    #expect(!server.contains("other"))
    #expect(server.contains("eth-0011-t4  serve  no such interface"))
    let consumer = try await coordinator.iov("host", "describe", "host-b").output
    #expect(consumer.contains("Holds:\n"))
    #expect(!consumer.contains("Wait for it"))
  }

  @Test func everythingHasADescription() async throws {
    let coordinator = try await coordinator { $0.orphans = [.sample("eth-9-t1", on: "host-a")] }
    let node = try await coordinator.iov("endnode", "describe", "host-a/eth1")
    #expect(node.output.contains("Control token:     2"))
    #expect(try await coordinator.iov("endnode", "describe", "eth-0011").output == node.output)
    #expect(
      try await coordinator.iov("function", "describe", "eth-0011-t4").output.contains("host-b  consumer  in use"))
    #expect(try await coordinator.iov("function", "describe", "eth-9-t1").output.contains("iov orphan adopt eth-9-t1"))
    let claim = try await coordinator.iov("claim", "describe", "web")
    #expect(claim.output.contains("Controlled by  host-a (connected)"))
    let yaml = try await coordinator.iov("claim", "describe", "web", "-o", "yaml")
    #expect(try Configuration.decode(Claim.self, from: yaml.output, named: "x") == .held("web"))
  }

  /// Of which there may be very many: the coordinator sends pages.
  @Test func longListsCome() async throws {
    let names = (10..<17).map { "claim-\($0)" }
    let coordinator = try await FakeCoordinator { world in
      world.claims = names.map { name in
        var claim = Claim.held(name)
        let isOdd = name.last?.wholeNumberValue.map { $0 % 2 == 1 } ?? false
        claim.specification?.group = isOdd ? "odd" : ""
        claim.specification?.tenant = isOdd ? "shop" : ""
        claim.specification?.host = isOdd ? "host-a" : "host-b"
        claim.status?.phase = name == "claim-12" ? .preparing : .ready
        claim.status?.assignment?.function = "eth-1/\(name)"
        claim.status?.assignment?.claim = name
        claim.status?.assignment?.endNode = isOdd ? "eth-1" : "eth-2"
        claim.status?.assignment?.host = isOdd ? "host-a" : "host-b"
        claim.status?.assignment?.controllingHost = "host-a"
        return claim
      }
      world.functions = world.claims.map { claim in AssignedFunction { $0.assignment = claim.status?.assignment } }
      world.endNodes = [
        EndNode {
          $0.id = "eth-2"
          $0.name = "host-a/eth2"
        }
      ]
    }
    let odd = ["claim-11", "claim-13", "claim-15"]
    let even = names.filter { !odd.contains($0) }
    for (words, expected) in [
      ([], names), (["--group", "odd"], odd), (["--tenant", "shop"], odd), (["--tenant", "default"], even),
      (["--host", "host-a"], names), (["--host", "host-b"], even), (["--endnode", "host-a/eth2"], even),
      (["--endnode", "eth-2", "--unready"], ["claim-12"]), (["--group", "odd", "--unready"], []),
    ] {
      let run = try await run(coordinator.arguments(["claim", "list", "-o", "name"] + words))
      #expect(run.output.split(separator: "\n").map(String.init) == expected, "\(words): \(run.errors)")
    }
    for (words, expected) in [([], names), (["--host", "host-b"], even), (["--endnode", "eth-2"], even)] {
      let run = try await run(coordinator.arguments(["function", "list", "-o", "name"] + words))
      #expect(run.output.split(separator: "\n").map(String.init) == expected.map { "eth-1/\($0)" }, "\(words)")
    }
    let unknown = try await coordinator.iov("claim", "list", "--endnode", "host-a/eth1")
    #expect(unknown.code == 2 && unknown.errors.contains("did you mean 'host-a/eth2'?"), "\(unknown.errors)")
  }

  @Test func aMisspeltNameIsToldTheNearOne() async throws {
    let coordinator = try await coordinator()
    for (words, near) in [
      (["host", "describe", "hots-a"], "did you mean 'host-a'?"),
      (["endnode", "describe", "host-a/eth2"], "did you mean 'host-a/eth1'?"),
      (["function", "describe", "eth-0011-t5"], "did you mean 'eth-0011-t4'?"),
      // Of claims the coordinator knows them.
      (["claim", "describe", "wbe"], "no claim 'wbe'"), (["claim", "get", "we"], "no claim 'we'"),
      (["claim", "delete", "database"], "no claim 'database'"),
    ] {
      let run = try await run(coordinator.arguments(words))
      #expect(run.code == 2)
      #expect(run.errors.contains(near), "\(run.errors)")
    }
  }
}
