"""What happens on a device: pure rules of slots, tries and versions, and the writing around them."""
