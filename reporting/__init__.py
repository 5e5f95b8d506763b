"""What a run can and cannot do, as one HTML file to look at: `hylle report`.

`held_out` gathers the photos that neither models nor gate saw, and what they say of them; a module for each part of the page
makes records of that (`figures`, `curves`, `look_alikes`, `gate_changes`, `gallery`, `products`, `health`, `trainings`,
`speed`); `page` puts them into the templates. `charts` draws, `pictures` cuts and encodes photos.
"""
