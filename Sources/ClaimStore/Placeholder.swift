// ClaimStore
