import Configuration
import Messages
import Selectors
import Testing

@testable import iov

@Suite struct SelectorTests {
  private func specification(_ arguments: String...) async throws -> ClaimSpecification {
    try await ClaimCommand.Create.asyncParse(["web", "--class", "ethernet"] + arguments).specification
  }

  @Test func aClaimStatesACondition() async throws {
    let specification = try await specification(
      "--host", "a", "--select", #"label.rack == "r1""#, "--end-node-host", "b")
    #expect(specification.selector == #"label.rack == "r1""#)
    #expect(specification.endNode?.host == "b")
  }

  @Test func endNodesAreListedByACondition() async throws {
    let coordinator = try await FakeCoordinator { world in
      world.fillWithSample()
      world.endNodes.append(
        EndNode {
          $0.name = "host-b/sda"
          $0.deviceClass = "sata"
        })
    }
    func names(_ condition: String) async throws -> [String] {
      try await coordinator.iov("endnode", "list", "--select", condition, "-o", "name").lines
    }
    #expect(try await names("free.functions == 7") == ["host-a/eth1"])
    #expect(try await names("class == 'sata' or multi_root") == ["host-b/sda"])
    #expect(try await names("class == 'nvme'") == [])
    let json = try await coordinator.iov("endnode", "list", "--select", "true", "-o", "json")
    #expect(try Configuration.decode(ListEndNodesResponse.self, from: json.output, named: "x").endNodes.count == 2)
  }

  @Test func aConditionThatIsWrongIsShownWithItsPlace() async throws {
    let coordinator = try await FakeCoordinator()
    let run = try await coordinator.iov("endnode", "list", "--select", "multi_root and clas == 'sas'")
    #expect(run.code == 64)
    #expect(run.errors.contains("column 16: end nodes have no field 'clas'; did you mean class?\n"))
    #expect(run.errors.contains("  multi_root and clas == 'sas'\n                 ^^^^"))
  }

  @Test func everyFieldIsTold() async throws {
    let ofEndNodes = try await run(["endnode", "fields"])
    for field in Vocabulary<EndNode>.endNodes.fields {
      #expect(
        ofEndNodes.lines.contains { $0.hasPrefix(field.name + " ") && $0.hasSuffix(field.meaning) }, "\(field.name)")
    }
    let ofHosts = try await run(["host", "fields"])
    for field in Vocabulary<Host>.hosts.fields {
      #expect(ofHosts.lines.contains { $0.hasPrefix(field.name + " ") && $0.hasSuffix(field.meaning) }, "\(field.name)")
    }
    #expect(try await run(["host", "fields", "--help"]).output.contains("has(label.rack)"))
  }

  @Test func aClaimLeavesItsHostOpen() async throws {
    let several = try await specification("--hosts", "a,b", "--hosts", "c", "--host-select", "has(label.gpu)")
    #expect(several.host == "" && several.hosts == ["a", "b", "c"] && several.hostSelector == "has(label.gpu)")
    await #expect(throws: (any Error).self) { try await specification("--select", "true") }
  }

  @Test func whereAClaimIsUsedIsTold() async throws {
    let coordinator = try await FakeCoordinator { world in
      world.fillWithSample()
      world.claims[0].specification?.host = ""
      world.claims[0].specification?.hosts = ["host-b", "host-c"]
      world.claims.append(.waiting("later", .pending, for: "none is connected"))
      world.claims[1].specification = ClaimSpecification { $0.hostSelector = "has(label.gpu)" }
    }
    let list = try await coordinator.iov("claim", "list")
    #expect(list.lines.contains { $0.hasPrefix("web ") && $0.contains(" host-b ") })
    #expect(list.lines.contains { $0.hasPrefix("later ") && $0.contains(" - ") })
    let web = try await coordinator.iov("claim", "describe", "web")
    #expect(web.output.contains("one of host-b, host-c"))
    #expect(web.lines.contains { $0.contains("Used on") && $0.contains("host-b (connected") })
    #expect(try await coordinator.iov("claim", "get", "later").output.contains("a host of which has(label.gpu) is so"))
    let hosts = try await coordinator.iov("host", "list", "--select", "name != 'host-a'", "-o", "name")
    #expect(hosts.lines == ["host-b"])
  }

  @Test func aClaimSaysWhatItSelects() async throws {
    let coordinator = try await FakeCoordinator { world in
      world.fillWithSample()
      world.claims[0].specification?.selector = "free.functions > 2"
    }
    for word in ["get", "describe"] {
      let run = try await coordinator.iov("claim", word, "web")
      #expect(run.lines.contains { $0.contains("Selector") && $0.hasSuffix("free.functions > 2") }, "\(run.output)")
    }
  }
}
