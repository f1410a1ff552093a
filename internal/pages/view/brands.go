package view

// OliveAndThyme is the look of the demo tenant's brand: warm paper, olive ink.
func (v *Views) OliveAndThyme() Theme {
	return Theme{
		Name:    "Olive & Thyme",
		Logo:    Image{URL: v.assets.url("olive.svg"), DarkURL: v.assets.url("olive-dark.svg"), Width: 40, Height: 40},
		Art:     Image{URL: v.assets.url("branch.svg")},
		Text:    Sans,
		Heading: Serif,
		Radius:  10,
		Light: Colours{
			Ground: "#f5f0e4", Surface: "#fffdf7", Text: "#25281b", TextQuiet: "#5d604d",
			Accent: "#4f5d1d", OnAccent: "#fffdf7", Line: "#8b8a73", Danger: "#a13a1f", OK: "#3d6a2c", Focus: "#6f7f2e",
		},
		Dark: &Colours{
			Ground: "#14150e", Surface: "#1d1f16", Text: "#f2eedf", TextQuiet: "#b4b29c",
			Accent: "#c5d27c", OnAccent: "#1c2008", Line: "#7d7d66", Danger: "#f2a18d", OK: "#a5cf8b", Focus: "#d9e394",
		},
	}
}

// Cardea is the look of a tenant without a brand, and of the system tenant.
func (v *Views) Cardea() Theme {
	return Theme{
		Name:    "Cardea",
		Logo:    Image{URL: v.assets.url("cardea.svg"), DarkURL: v.assets.url("cardea-dark.svg"), Width: 36, Height: 36},
		Text:    Sans,
		Heading: Sans,
		Radius:  8,
		Light: Colours{
			Ground: "#f4f5f7", Surface: "#ffffff", Text: "#1a1f2b", TextQuiet: "#586072",
			Accent: "#2f4a9e", OnAccent: "#ffffff", Line: "#868d9c", Danger: "#b3261e", OK: "#1f6b3a", Focus: "#2f4a9e",
		},
		Dark: &Colours{
			Ground: "#101319", Surface: "#181c24", Text: "#eef0f4", TextQuiet: "#a9b0bf",
			Accent: "#a9bcff", OnAccent: "#0f1b45", Line: "#70798b", Danger: "#ffa59b", OK: "#8ed5a4", Focus: "#a9bcff",
		},
	}
}
