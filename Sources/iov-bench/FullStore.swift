import Arbitration
import ClaimStore
import Services

/// A cluster as its store holds it after a long day: every host has a card, and every claim a function, every other one
/// served by the host beside.
struct FullStore {
  var claims: Int
  var hosts: Int

  func write(to store: any ClaimStore) throws {
    var records: [Record] = [
      .cluster(
        Cluster {
          $0.id = store.clusterID
          $0.epoch = 1
          $0.revision = UInt64(claims) * 3
        })
    ]
    for number in 0..<hosts { records += [.host(host(number)), .endNode(endNode(number))] }
    for number in 0..<claims { records += self.records(ofClaim: number) }
    for start in stride(from: 0, to: records.count, by: 1000) {
      try store.commit(records[start..<min(start + 1000, records.count)].map(Self.change))
    }
  }

  static func change(_ record: Record) -> StoreChange {
    let key = StoreKey(kind: record.key.kind.rawValue, name: record.key.name)
    return switch record {
    case .cluster(let message): .put(key, message)
    case .host(let message): .put(key, message)
    case .endNode(let message): .put(key, message)
    case .claim(let message): .put(key, message)
    case .tenant(let message): .put(key, message)
    case .wantedFunction(let message): .put(key, message)
    }
  }

  private func host(_ number: Int) -> Host {
    Host {
      $0.name = "host-\(number)"
      $0.instanceId = "instance-of-host-\(number)"
      $0.bootId = "boot-of-host-\(number)"
      $0.mediationAddress = address(number)
      $0.mediationMtu = 9000
      $0.plugins = [
        Plugin {
          $0.name = "ethernet"
          $0.deviceClass = "ethernet"
          $0.state = .serving
          $0.mediatorsOffered = ["vxlan"]
          $0.mediatorsAccepted = ["vxlan"]
        }
      ]
    }
  }

  private func address(_ host: Int) -> String { "10.\(host >> 16).\(host >> 8 & 0xFF).\(host & 0xFF)" }

  private func endNode(_ number: Int) -> EndNode {
    EndNode {
      $0.id = "ethernet/card-\(number)"
      $0.deviceClass = "ethernet"
      $0.name = "host-\(number)/eth1"
      $0.roots = [
        Root {
          $0.host = "host-\(number)"
          $0.localName = "eth1"
        }
      ]
      $0.physicalFunction = PhysicalFunction {
        $0.controllingHost = "host-\(number)"
        $0.controlToken = token(1)
      }
      $0.capacity = Capacity { $0.functions = UInt32(claims / hosts + 1) }
      $0.capabilities = Capabilities {
        $0.paths = [.directSoftware, .mediated]
        $0.mediators = ["vxlan"]
        $0.consumers = ["host", "network_namespace"]
        $0.maximumMtu = 9000
      }
      $0.health = Health { $0.state = .healthy }
      $0.highestToken = token(UInt64(claims + 1))
    }
  }

  private func token(_ value: UInt64) -> FencingToken { FencingToken { $0.value = value } }

  // MARK: Claims

  private func records(ofClaim number: Int) -> [Record] {
    let (claim, assignment) = (self.claim(number), self.assignment(ofClaim: number))
    let roles: [Role] = assignment.path == .mediated ? [.server, .consumer] : [.direct]
    return [.claim(claim)] + roles.map { .wantedFunction(entry($0, assignment, number)) }
  }

  func claim(_ number: Int) -> Claim {
    let assignment = self.assignment(ofClaim: number)
    return Claim {
      $0.name = assignment.claim
      $0.uid = assignment.claimUid
      $0.specification = ClaimSpecification {
        $0.deviceClass = "ethernet"
        $0.host = assignment.host
      }
      $0.status = ClaimStatus {
        $0.phase = .ready
        $0.assignment = assignment
      }
      $0.revision = UInt64(number + 1)
    }
  }

  private func entry(_ role: Role, _ assignment: Assignment, _ number: Int) -> WantedFunction {
    WantedFunction {
      $0.assignment = assignment
      $0.role = role
      $0.revision = UInt64(number + (role == .consumer ? 2 : 1) * claims + 1)
      $0.bootId = "boot-of-" + (role == .consumer ? assignment.host : assignment.controllingHost)
    }
  }

  func assignment(ofClaim number: Int) -> Assignment {
    let controlling = number % hosts
    let isMediated = number / hosts % 2 == 1 && hosts > 1
    let consuming = isMediated ? (controlling + 1) % hosts : controlling
    return Assignment {
      $0.function = "ethernet/card-\(controlling)/\(number + 2)"
      $0.claim = "claim-\(number)"
      $0.claimUid = "00000000-0000-4000-8000-" + padded(number)
      $0.endNode = "ethernet/card-\(controlling)"
      $0.deviceClass = "ethernet"
      $0.host = "host-\(consuming)"
      $0.controllingHost = "host-\(controlling)"
      $0.path = isMediated ? .mediated : .directSoftware
      $0.token = token(UInt64(number + 2))
      $0.attributes = Attributes {
        $0.ethernet = EthernetAttributes {
          $0.macAddress = "02:00:00:\(hex(number >> 16)):\(hex(number >> 8)):\(hex(number))"
          $0.mtu = isMediated ? 8950 : 9000
        }
      }
      if isMediated { $0.mediation = mediation(controlling, consuming, number) }
      $0.arrival = Arrival { $0.interfaceName = "iov\(number)" }
    }
  }

  private func mediation(_ controlling: Int, _ consuming: Int, _ number: Int) -> Mediation {
    Mediation {
      $0.mediator = "vxlan"
      $0.serverAddress = address(controlling)
      $0.consumerAddress = address(consuming)
      $0.vni = UInt32(number + 1)
    }
  }

  private func padded(_ number: Int) -> String { String(repeating: "0", count: 12 - "\(number)".count) + "\(number)" }

  private func hex(_ number: Int) -> String {
    let text = String(number & 0xFF, radix: 16)
    return text.count < 2 ? "0" + text : text
  }
}
