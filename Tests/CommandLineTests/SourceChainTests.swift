import Services
import Testing

@testable import iov

@Suite struct SourceChainTests {
  private static func claim(
    _ name: String, on host: String, from source: String = "", of endNode: String, _ phase: ClaimPhase = .ready
  ) -> Claim {
    Claim {
      $0.name = name
      $0.uid = "uid-of-\(name)"
      $0.specification = ClaimSpecification {
        $0.deviceClass = "sata"
        $0.host = host
        $0.source = source
        if name != "photos" { $0.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) } }
      }
      $0.status = ClaimStatus {
        $0.phase = phase
        if phase == .pending { $0.pending = [PendingReason { $0.message = "no room" }] }
        guard phase == .ready else { return }
        $0.assignment = Assignment {
          $0.claim = name
          $0.claimUid = "uid-of-\(name)"
          $0.function = "\(endNode)/2"
          $0.endNode = endNode
          $0.source = source
          $0.host = host
          $0.controllingHost = "host-a"
          $0.extent = Extent { $0.sizeBytes = 1 << 20 }
        }
      }
    }
  }

  private let rack = {
    var rack = Rack()
    rack.endNodes = [
      EndNode {
        $0.id = "sata/disk"
        $0.name = "host-c/sda"
      }
    ]
    rack.claims = [
      claim("box", on: "host-b", from: "shelf", of: "sata/disk/2"),
      claim("late", on: "host-b", from: "shelf", of: "", .pending),
      claim("photos", on: "host-c", from: "box", of: "sata/disk/2/2"),
      claim("shelf", on: "host-a", of: "sata/disk"),
    ]
    return rack
  }()

  @Test func goDownToTheDevice() {
    let rows = rack.chain(of: rack.claims[2])
    #expect(rows.map { $0[0] } == ["photos", "box", "shelf", "host-c/sda"])
    #expect(rows.map { $0[2] } == ["sata/disk/2/2/2", "sata/disk/2/2", "sata/disk/2", "the device sata/disk"])
    #expect(rack.chain(of: rack.claims[3]).isEmpty)
  }

  @Test func areShownFromBelowAsWell() {
    let rows = rack.served(from: rack.claims[3])
    #expect(rows.map { $0[0] } == ["box", "late"])
    #expect(rows.map { $0.last } == ["", "no room"])
    #expect(rack.served(from: rack.claims[2]).isEmpty)
    #expect(rack.describe(rack.claims[3]).lines.contains { $0.contains("a file server, for claims from it") })
  }

  @Test func areAskedForInTheSameWordsEverywhere() throws {
    let create = try #require(
      try ClaimCommand.parseAsRoot(
        ["create", "box", "--class", "sata", "--host", "b", "--source", "shelf", "--file-server"])
        as? ClaimCommand.Create)
    #expect(create.specification.source == "shelf")
    #expect(create.specification.consumer?.kind == .fileServer(FileServerConsumer()))
    #expect(throws: (any Error).self) {
      try ClaimCommand.parseAsRoot(["create", "x", "--class", "sata", "--host", "b", "--file-server", "--container"])
    }
    let delete = try #require(try ClaimCommand.parseAsRoot(["delete", "shelf", "--cascade"]) as? ClaimCommand.Delete)
    #expect(delete.cascade)
  }
}
