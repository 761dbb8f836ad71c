import Messages

/// Messages and the bytes that `protoc --deterministic_output --encode` makes of the same values.
enum Samples {
  static let claim = Claim {
    $0.name = "web-1"
    $0.uid = "6f3d"
    $0.revision = .max
    $0.specification = ClaimSpecification {
      $0.deviceClass = "ethernet"
      $0.host = "höst-2"
      $0.consumer = Consumer {
        $0.kind = .networkNamespace(NetworkNamespaceConsumer { $0.name = "blue" })
        $0.interfaceName = "eth7"
      }
      $0.endNode = EndNodeSelector {
        $0.name = "a/eth1"
        $0.labels = ["zone": "b", "rack": "r1"]
      }
      $0.allowedPaths = [.mediated, .direct]
      $0.attributes = Attributes {
        $0.ethernet = EthernetAttributes {
          $0.macAddress = "02:00:00:00:00:01"
          $0.mtu = 0
          $0.maxTransmitBitsPerSecond = 1_000_000_000_000
        }
      }
    }
    $0.status = ClaimStatus {
      $0.phase = .ready
      $0.pending = [
        PendingReason {
          $0.filter = "capacity"
          $0.dropped = 3
          $0.message = "full"
        },
        PendingReason(),
      ]
      $0.error = FunctionError {
        $0.code = 14
        $0.permanent = true
      }
    }
    $0.created = Timestamp(seconds: -1, nanoseconds: 500_000_000)
  }

  static let claimBytes = bytes(
    """
    0a057765622d311204366633641a6c0a0865746865726e6574120768c3b673742d321a0e12060a04626c75651a046574683722
    1f0a06612f657468311a0a0a047261636b120272311a090a047a6f6e651201622a02040132220a200a130a1130323a30303a30
    303a30303a30303a303112001a070880a094a58d1d221e080312120a08636170616369747910031a0466756c6c12002204180e
    28012a1108ffffffffffffffffff011080cab5ee0130ffffffffffffffffff01
    """)

  static let hello = AgentMessage {
    $0.kind = .hello(
      AgentHello {
        $0.host = Host {
          $0.name = "h"
          $0.labels = ["b": "2", "a": "1"]
          $0.lease = Lease { $0.termMilliseconds = 300 }
        }
        $0.highestEpoch = 9
      })
  }

  static let helloBytes = bytes("0a1c0a180a016822060a016112013122060a0162120132520308ac021009")

  /// Bytes from hexadecimal digits; blanks and line breaks do not count.
  static func bytes(_ hexadecimal: String) -> [UInt8] {
    let digits = hexadecimal.compactMap { $0.hexDigitValue }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }
}

/// A length-prefixed field.
func field(_ number: Int, _ payload: [UInt8]) -> [UInt8] {
  varint(UInt64(number << 3 | 2)) + varint(UInt64(payload.count)) + payload
}

/// A field that holds a number.
func field(_ number: Int, _ value: UInt64) -> [UInt8] { varint(UInt64(number << 3)) + varint(value) }

func varint(_ value: UInt64) -> [UInt8] {
  value < 0x80 ? [UInt8(value)] : [UInt8(truncatingIfNeeded: value) | 0x80] + varint(value >> 7)
}
