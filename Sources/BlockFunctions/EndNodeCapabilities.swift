import Services

extension BlockPlugin {
  /// What one end node can be and do: where its class gives whole disks away, beside what `capabilities` says of parts.
  static func capabilities(isMultiRoot: Bool) -> Capabilities {
    var capabilities = capabilities
    capabilities.multiRoot = isMultiRoot
    guard Class.givesWholeDisks else { return capabilities }
    capabilities.paths.insert(.direct, at: 0)
    capabilities.byPath = [
      PathCapabilities {
        $0.path = .direct
        $0.functions = 1
        $0.consumers = ["host", "container", "file_server"]
        $0.attributes = capabilities.attributes.map { wholeDiskSupport(for: $0) }
      }
    ]
    return capabilities
  }

  /// Whatever an attribute limits, it limits by something between consumer and device.
  private static func wholeDiskSupport(for attribute: String) -> AttributeSupport {
    AttributeSupport {
      $0.attribute = attribute
      // Of a whole disk nothing else is promised to anybody.
      guard attribute != "block.size_bytes", !DiskLimits.promises.contains(attribute) else {
        $0.support = .supported
        return
      }
      $0.support = .refused
      $0.reason =
        "a whole disk is used as it is, with nothing between that could hold anybody back: ask for another path"
    }
  }
}

extension Capabilities {
  /// Whole disks alone are left.
  mutating func refuseParts() { paths = paths.filter { $0 == .direct } }
}

extension Health {
  /// With the places that nobody gets because they could not be cleaned. What the drive thinks of itself stays as it is.
  func with(uncleaned records: [ScrubRecord]) -> Health {
    var health = self
    let complaints = records.compactMap { record in
      record.failure.map {
        "\(record.function) could not be cleaned from byte \(record.doneBytes) of \(record.place.sizeBytes) on: \($0)"
      }
    }
    health.message = ((message.isEmpty ? [] : [message]) + complaints).joined(separator: "; ")
    return health
  }
}

extension EndNode {
  /// What a claim holds is given on in parts.
  mutating func take(_ served: ServedDisk) {
    source = served.claim
    let name = String(served.name.dropFirst("/dev/".utf8.count))
    self.name = "\(physicalFunction?.controllingHost ?? "")/\(name)"
    for index in roots.indices { roots[index].localName = name }
    capacity?.operationsPerSecond = served.promised.minOperationsPerSecond ?? 0
    capacity?.bytesPerSecond = served.promised.minBytesPerSecond ?? 0
    capabilities?.paths.removeAll { $0 == .direct }
    capabilities?.byPath.removeAll { $0.path == .direct }
  }
}
