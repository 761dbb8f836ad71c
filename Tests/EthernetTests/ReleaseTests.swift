import FunctionPluginKit
import LinuxDevices
import Services
import Testing

@testable import iov_plugin_ethernet

/// Whatever a function was asked to be, and however little is known of it, it can be taken back.
@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct ReleaseTests {
  struct Request: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var change: @Sendable (inout Assignment) -> Void
  }

  static let requests = [
    Request(testDescription: "a rate that nothing can keep") {
      $0.attributes?.ethernet?.maxTransmitBitsPerSecond = 1
      $0.attributes?.ethernet?.maxReceiveBitsPerSecond = 7
    },
    Request(testDescription: "a VLAN that is none") { $0.attributes?.ethernet?.vlan = 5000 },
    Request(testDescription: "an address that is none") { $0.attributes?.ethernet?.macAddress = "card" },
    Request(testDescription: "a mediator that is unknown") { $0.mediation?.mediator = "nbd" },
    Request(testDescription: "function, end node and token alone") { known in
      known = Assignment {
        $0.function = known.function
        $0.endNode = known.endNode
        $0.token = known.token
      }
    },
  ]

  private static func limited(_ assignment: inout Assignment) {
    assignment.attributes?.ethernet?.maxTransmitBitsPerSecond = 50_000_000
    assignment.attributes?.ethernet?.maxReceiveBitsPerSecond = 60_000_000
  }

  @Test(arguments: requests) func aServedFunctionIsReleased(by request: Request) throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    try hosts.mediate(Self.limited)
    let server = try hosts.request(.server, request.change)
    #expect(try hosts.a.unserve(server).phase == .created)
    #expect(try hosts.a.destroy(server).phase == .absent)
    #expect(try hosts.b.disconnect(hosts.request(.consumer, request.change)).phase == .absent)
    #expect(try hosts.traces() == before)
  }

  @Test(arguments: requests) func aServedFunctionIsFenced(by request: Request) throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    try hosts.mediate(Self.limited)
    #expect(try hosts.a.fence(hosts.request(.server, request.change)).phase == .absent)
    #expect(try hosts.b.fence(hosts.request(.consumer, request.change)).phase == .absent)
    #expect(try hosts.traces() == before)
  }

  @Test(arguments: requests) func aFunctionOfThisHostIsReleased(by request: Request) throws {
    let hosts = try TestHosts()
    let before = try hosts.traces()
    #expect(try hosts.a.attach(hosts.request(.direct, Self.limited)).phase == .inUse)
    let direct = try hosts.request(.direct, request.change)
    #expect(try hosts.a.detach(direct).phase == .absent)
    #expect(try hosts.a.scrub(direct).phase == .absent)
    #expect(try hosts.a.destroy(direct).phase == .absent)
    #expect(try hosts.traces() == before)
  }

  /// Which function it is on the card stands in the table, also for who does not say by which path it was used.
  @Test func aFunctionOfTheCardsOwnIsKnownByTheTable() throws {
    let host = try TestNamespace("own")
    let table = FunctionTable()
    let functions = try EthernetFunctions(
      hostName: "host", configuration: EthernetConfiguration(), namespace: host.namespace, table: table)
    try table.adopt("ethernet/1/0/7", FunctionTable.Entry(endNode: "ethernet/1/0", index: 3))
    let request = FunctionRequest {
      $0.role = .direct
      $0.assignment = Assignment {
        $0.function = "ethernet/1/0/7"
        $0.endNode = "ethernet/1/0"
      }
    }
    #expect(try functions.releasePlan(request).isOwn)
    #expect(try functions.destroy(request).phase == .absent)
    #expect(table.functions.isEmpty)
  }
}
